//! Reads the declarations and paths of one source file. Ignores code that is compiled only for tests.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Ident, ImplItem, Item, Macro, Meta, Stmt, Token, UseTree, Visibility};

/// A name that a `use` declaration brings into its module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// The name in this module; `None` for a glob.
    pub(crate) name: Option<String>,
    /// Whether the import is visible outside of its module.
    pub(crate) is_public: bool,
}

/// A path in a `use` declaration or in code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    pub(crate) kind: ReferenceKind,
}

/// The syntax in which a path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReferenceKind {
    /// A path in code, outside of `use` declarations.
    Inline,
    /// A path in a `use` declaration.
    Use,
    /// A path in a `use` declaration that ends with `*`.
    Glob,
}

/// A `mod` declaration.
#[derive(Debug)]
pub(crate) struct ModuleDeclaration {
    pub(crate) name: String,
    /// The value of the declaration's `#[path]` attribute.
    pub(crate) path: Option<String>,
    /// The content of an inline module; `None` if the module has its own file.
    pub(crate) content: Option<ModuleSource>,
}

/// The content of one module.
#[derive(Debug, Default)]
pub(crate) struct ModuleSource {
    pub(crate) modules: Vec<ModuleDeclaration>,
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    pub(crate) references: Vec<Reference>,
}

/// Parses the text of a source file.
///
/// # Errors
/// [`syn::Error`] if the text is not Rust.
pub(crate) fn parse(text: &str) -> syn::Result<ModuleSource> {
    Ok(source(&syn::parse_file(text)?.items))
}

fn source(items: &[Item]) -> ModuleSource {
    let mut source = ModuleSource::default();
    let mut collector = Collector::default();
    for item in items.iter().filter(|item| !is_test(attributes(item))) {
        match item {
            Item::Mod(module) => {
                let name = module.ident.unraw().to_string();
                let content = module.content.as_ref().map(|(_, items)| self::source(items));
                source.modules.push(ModuleDeclaration { name, path: path_attribute(&module.attrs), content });
            }
            Item::Use(item) => {
                for (import, reference) in imports(item) {
                    source.references.push(reference);
                    source.imports.push(import);
                }
            }
            _ => {
                source.items.extend(defined_name(item).map(|name| name.unraw().to_string()));
                collector.visit_item(item);
            }
        }
    }
    source.imports.extend(collector.globs);
    source.references.extend(collector.references);
    source
}

/// Returns the name that an item defines in its module. Returns `None` for an item without a name, such as an
/// `impl` block.
fn defined_name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item with these attributes is compiled only for tests.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.path().is_ident("cfg").then(|| attribute.parse_args::<Meta>().ok());
        attribute.path().is_ident("test")
            || condition.flatten().is_some_and(|condition| needs_test(&condition))
    })
}

/// Whether a `cfg` condition is true only in tests.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(needs_test)
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Returns the names of one `use` declaration, each with its path. A declaration with a leading `::` refers
/// to another crate and returns nothing.
fn imports(item: &syn::ItemUse) -> Vec<(Import, Reference)> {
    let mut found = Vec::new();
    if item.leading_colon.is_none() {
        let is_public = !matches!(item.vis, Visibility::Inherited);
        flatten(&item.tree, &mut Vec::new(), is_public, &mut found);
    }
    found
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, is_public: bool, found: &mut Vec<(Import, Reference)>) {
    let mut add = |path: Vec<String>, name: Option<String>, line: usize| {
        let kind = if name.is_none() { ReferenceKind::Glob } else { ReferenceKind::Use };
        found.push((Import { path: path.clone(), name, is_public }, Reference { path, line, kind }));
    };
    // `{self}` stands for the prefix itself.
    let complete = |name: &Ident| {
        let mut path = prefix.clone();
        if name != "self" || path.is_empty() {
            path.push(name.unraw().to_string());
        }
        path
    };
    match tree {
        UseTree::Name(name) => {
            let path = complete(&name.ident);
            let last = path.last().cloned();
            add(path, last, name.ident.span().start().line);
        }
        UseTree::Rename(name) => {
            let alias = name.rename.unraw().to_string();
            add(complete(&name.ident), Some(alias), name.ident.span().start().line);
        }
        UseTree::Glob(glob) => add(prefix.clone(), None, glob.star_token.span.start().line),
        UseTree::Path(path) => {
            prefix.push(path.ident.unraw().to_string());
            flatten(&path.tree, prefix, is_public, found);
            prefix.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, is_public, found);
            }
        }
    }
}

/// Collects the paths in the code of one module.
#[derive(Default)]
struct Collector {
    references: Vec<Reference>,
    /// Glob imports inside of functions. They count for the whole module.
    globs: Vec<Import>,
    /// The imports of each enclosing block inside of a function; the innermost block is last.
    scopes: Vec<Vec<Import>>,
}

impl Collector {
    /// Records a path. If it starts with a name that an enclosing function imports, the import's path
    /// replaces that name.
    fn record(&mut self, mut path: Vec<String>, line: usize, kind: ReferenceKind) {
        let named = |import: &&Import| import.name.is_some() && import.name.as_ref() == path.first();
        let import = self.scopes.iter().rev().find_map(|scope| scope.iter().find(named));
        if let Some(import) = import {
            path.splice(..1, import.path.iter().cloned());
        }
        self.references.push(Reference { path, line, kind });
    }

    /// Records the paths among the tokens of a macro or an attribute. Single names are ignored, because they
    /// need not be paths.
    fn scan(&mut self, tokens: TokenStream, in_attribute: bool) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 || path.is_empty() {
                        self.finish(&mut path, line);
                        line = name.span().start().line;
                        // A name after a leading `::` belongs to an external crate, or to the rest of a
                        // qualified path.
                        if colons == 2 {
                            colons = 0;
                            continue;
                        }
                    }
                    path.push(name.unraw().to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.finish(&mut path, line);
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.scan(group.stream(), in_attribute),
                        TokenTree::Literal(literal) if in_attribute => self.scan_string(literal),
                        _ => {}
                    }
                }
            }
        }
        self.finish(&mut path, line);
    }

    fn finish(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.record(path, line, ReferenceKind::Inline);
        }
    }

    /// Records a path in a string of an attribute, such as `#[serde(with = "crate::time")]`.
    fn scan_string(&mut self, literal: proc_macro2::Literal) {
        let line = literal.span().start().line;
        if let syn::Lit::Str(text) = syn::Lit::new(literal)
            && let Ok(path) = text.parse::<syn::Path>()
            && path.leading_colon.is_none()
            && path.segments.len() > 1
        {
            self.record(names(&path), line, ReferenceKind::Inline);
        }
    }
}

fn names(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect()
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let (None, Some(first)) = (&path.leading_colon, path.segments.first()) {
            self.record(names(path), first.ident.span().start().line, ReferenceKind::Inline);
        }
        visit::visit_path(self, path);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let mut scope = Vec::new();
        for statement in &block.stmts {
            if let Stmt::Item(Item::Use(item)) = statement
                && !is_test(&item.attrs)
            {
                for (import, reference) in imports(item) {
                    self.record(reference.path, reference.line, reference.kind);
                    match self.references.last() {
                        Some(glob) if import.name.is_none() => {
                            self.globs.push(Import { path: glob.path.clone(), ..import });
                        }
                        _ => scope.push(import),
                    }
                }
            }
        }
        self.scopes.push(scope);
        visit::visit_block(self, block);
        self.scopes.pop();
    }

    fn visit_item(&mut self, item: &'ast Item) {
        // `visit_block` reads the `use` declarations of blocks. Modules inside of functions are ignored.
        if !is_test(attributes(item)) && !matches!(item, Item::Use(_) | Item::Mod(_)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.scan(call.tokens.clone(), false);
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone(), true);
        }
    }

    /// Ignores visibilities: a path as in `pub(in path)` can only name a module that contains this one.
    fn visit_visibility(&mut self, _visibility: &'ast Visibility) {}
}
