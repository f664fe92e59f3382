//! No line of `env` or `secrets` is ever shown, however the file is laid out.

use crate::run::runway_with;

const SECRET: &str = "hunter2-xyzzy";

#[test]
fn no_output_holds_the_value_of_a_secret() {
    for source in [
        "secrets: {A: SECRET}",
        "secrets:\n  A: SECRET\n  B: [SECRET]\n",
        "{name: BAD NAME, secrets: {A: SECRET}, resources: {cpu: 99}, env: {X: SECRET}}",
        "{\"env\": {\"X\": \"SECRET\"}, \"name\": \"BAD NAME\"}",
        "env: {X: SECRET, RUNWAY_Y: SECRET, 1Z: SECRET}\nname: Bad\n",
        "env:\n  X: [SECRET]\n  X: SECRET\n",
        "secret: {A: SECRET}\n",
        "secret: SECRET\nname: Bad\n",
        "{secret: SECRET, name: Bad}",
        "{name: Bad, secret: SECRET}",
        "secrets: {A: 'SECRET\nname: Bad\n",
        "secrets:\n\tA: SECRET\n",
        "env: {A: SECRET\nname: [Bad\n",
        "secrets: {A: &x SECRET}\nname: *x\nimage: *x\ntimeout: *x\n",
        "name: &x SECRET\nsecrets: {A: *x}\n",
        "secrets: |\n  SECRET\nname: Bad\n",
        "env: {A: \"SECRET\\0\"}",
        "env: {A: @SECRET}",
        "env: &e {A: SECRET}\nresources: *e\n",
        "resources: {cpu: 99, env: {A: SECRET}, memory: 1Ti}\n",
        "resources:\n  password: SECRET\n",
        "container: {cpu: 99, env: {A: SECRET}}\n",
        "env: {TOKEN: &s SECRET}\n*s : x\n",
        "env: {TOKEN: &s SECRET}\nresources: {cpu: 1, *s : 3}\n",
        "env: {A: &s SECRET, *s : 1}\n",
        "- name: x\n  env: {TOKEN: SECRET}\n",
        "- {name: x, \"env\": {\"TOKEN\": \"SECRET\"}}\n",
        "args: [a, {env: {TOKEN: SECRET}}]\n",
        "resources: {cpu: {secrets: {A: SECRET}}}\n",
        "resources: [{secrets: {A: SECRET}}]\n",
        "name: {secrets: {A: SECRET}}\n",
        "network:\n  env:\n    TOKEN: SECRET\n",
        "command:\n#env:\n  TOKEN: SECRET\n",
        "env: {TOKEN:SECRET}\n",
        "env: {TOKEN=SECRET}\nsecrets: {'TOKEN SECRET': {from_env: X}}\n",
        "DB_PASSWORD=SECRET\n",
        "TOKEN=SECRET: 1\n",
        "TOKEN:SECRET: 1\nname: Bad\n",
        "resources: {TOKEN=SECRET: 1}\n",
        "secrets: {TOKEN: {SECRET: 1}}\n",
        "# env: {A: SECRET}\n",
    ] {
        let source = source.replace("SECRET", SECRET);
        // A plain `name` is no secret, even where an alias makes it one: then it stands in the file twice.
        if source.contains("name: &x") {
            continue;
        }
        for arguments in
            [&["check", "-"][..], &["check", "-", "-o", "json"], &["quote", "-"], &["render", "-"]]
        {
            let ran = runway_with(arguments, source.as_bytes());
            assert_eq!(ran.code, 1);
            let told = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!told.contains(SECRET), "{arguments:?}\n{source}\n{told}");
        }
    }
}

#[test]
fn a_policy_file_shows_its_lines() {
    let ran = runway_with(&["policy", "check", "-"], b"version: 1\nlimits: {}\nrates: {}\nrate_limt: 5\n");
    assert!(ran.stderr.contains("rate_limt"), "{}", ran.stderr);
}
