//! Debian's source packages by way of the machine's own list of package sources.

/// The release that holds the Kubernetes which is built.
const RELEASE: &str = "bookworm";

/// Other names under which a list may call the same release.
const NAMES: &[&str] = &[RELEASE, "stable", "oldstable"];

/// Rewrites a file of the kind `debian.sources` so that it names sources: only what comes from Debian itself stays.
pub(crate) fn deb822(text: &str) -> String {
    let mut kept = String::new();
    let text = text.lines().map(|line| if line.trim().is_empty() { "" } else { line }).collect::<Vec<_>>();
    for stanza in text.split(|line| line.is_empty()) {
        let stanza: Vec<&str> = stanza.iter().copied().filter(|line| !line.starts_with('#')).collect();
        let value = |name: &str| {
            let of = |line: &&str| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            };
            stanza.iter().find_map(of).unwrap_or_default()
        };
        let main = value("Components").split_whitespace().any(|component| component == "main");
        let ours = value("Suites").split_whitespace().any(is_debian);
        if !main || !ours || value("Enabled").eq_ignore_ascii_case("no") {
            continue;
        }
        for line in stanza {
            let types = line.split_once(':').is_some_and(|(field, _)| field.eq_ignore_ascii_case("Types"));
            kept.push_str(if types { "Types: deb-src" } else { line });
            kept.push('\n');
        }
        kept.push('\n');
    }
    kept
}

/// Rewrites a file of the kind `sources.list`, of one line for each source, likewise.
pub(crate) fn one_line(text: &str) -> String {
    let mut kept: Vec<String> = text.lines().filter_map(source_line).collect();
    kept.dedup();
    kept.iter().map(|line| format!("{line}\n")).collect()
}

/// `deb [options] address suite main …` as the line for its sources.
fn source_line(line: &str) -> Option<String> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb-src").or_else(|| line.strip_prefix("deb"))?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim();
    let words = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = words.split_whitespace().skip(1);
    let suite = words.next()?;
    (is_debian(suite) && words.any(|component| component == "main")).then(|| format!("deb-src {rest}"))
}

/// Whether a suite is of Debian itself: the release, its updates or its security updates.
fn is_debian(suite: &str) -> bool {
    let suite = suite.trim_end_matches('/').split('/').next().unwrap_or_default();
    let name = suite.strip_suffix("-updates").or_else(|| suite.strip_suffix("-security")).unwrap_or(suite);
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::{deb822, one_line};

    #[test]
    fn stanzas_of_debian_become_sources() {
        let text = "\
# Debian
Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://deb.example.com/tool
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main
";
        let expected = "\
Types: deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

";
        assert_eq!(deb822(text), expected);
    }

    #[test]
    fn lines_of_debian_become_sources() {
        let text = "\
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://deb.debian.org/debian bookworm main # all
deb-src http://deb.debian.org/debian bookworm-updates main
deb http://security.debian.org/ bookworm-security/updates main
# deb http://deb.debian.org/debian bookworm main
deb https://apt.example.com cloud-sdk-bookworm main
deb https://download.example.com/debian bookworm stable
debug
";
        let expected = "\
deb-src [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://deb.debian.org/debian bookworm main
deb-src http://deb.debian.org/debian bookworm-updates main
deb-src http://security.debian.org/ bookworm-security/updates main
";
        assert_eq!(one_line(text), expected);
    }
}
