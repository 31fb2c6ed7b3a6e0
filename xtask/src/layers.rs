//! The layer rule: a crate's Cargo.toml names only crates of lower layers. Must never need a list of
//! exceptions.

use crate::tree::File;

/// One complaint for each import that does not go downwards, and for each crate without a layer.
pub fn check(files: &[File]) -> Vec<String> {
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests.flat_map(|file| check_manifest(&file.path, &file.text)).collect()
}

fn check_manifest(path: &str, text: &str) -> Vec<String> {
    let Some(importer) = package_name(text) else { return vec![format!("{path}: no package name")] };
    let Some(layer) = layer_of(importer) else {
        return vec![format!("{path}: crate {importer} has no layer; give it one in xtask/src/layers.rs")];
    };
    let judged = dependencies(text).filter_map(|(section, name)| judge(importer, layer, section, name));
    judged.map(|complaint| format!("{path}: {complaint}")).collect()
}

fn judge(importer: &str, layer: Layer, section: Section, imported: &str) -> Option<String> {
    let allowed = match (layer, layer_of(imported)?, section) {
        (Layer::Development, _, _) | (_, Layer::Development, Section::Development) => true,
        (_, Layer::Development, Section::Shipped) => false,
        (Layer::Shipped(above), Layer::Shipped(below), _) => below < above,
    };
    (!allowed)
        .then(|| format!("{importer} may not import {imported}: imports go only downwards (ARCHITECTURE.md)"))
}

#[derive(Clone, Copy, PartialEq)]
enum Section {
    Shipped,
    Development,
}

#[derive(Clone, Copy)]
enum Layer {
    Shipped(u8),
    Development,
}

fn layer_of(name: &str) -> Option<Layer> {
    LAYERS.iter().find(|(candidate, _)| *candidate == name).map(|(_, layer)| *layer)
}

fn package_name(text: &str) -> Option<&str> {
    let line = text.lines().skip_while(|line| line.trim() != "[package]").find(|line| key(line) == "name")?;
    line.split('"').nth(1)
}

/// Every dependency with the section it stands in.
fn dependencies(text: &str) -> impl Iterator<Item = (Section, &str)> {
    let mut header = "";
    text.lines().filter_map(move |line| {
        if line.starts_with('[') {
            header = line.trim_matches(['[', ']', ' ']);
            return header.rsplit_once("dependencies.").and_then(|(_, name)| Some((section(header)?, name)));
        }
        let name = key(line);
        (header.ends_with("dependencies") && !name.is_empty()).then_some((section(header)?, name))
    })
}

fn section(header: &str) -> Option<Section> {
    if header.contains("dev-dependencies") {
        Some(Section::Development)
    } else {
        header.contains("dependencies").then_some(Section::Shipped)
    }
}

/// `name` of `name = ...` and of `name.workspace = true`.
fn key(line: &str) -> &str {
    line.split(['=', '.', '#']).next().unwrap_or("").trim()
}

const LAYERS: &[(&str, Layer)] = &[
    ("base", Layer::Shipped(0)),
    ("resp", Layer::Shipped(1)),
    ("ds", Layer::Shipped(1)),
    ("rdb", Layer::Shipped(2)),
    ("aof", Layer::Shipped(2)),
    ("script", Layer::Shipped(2)),
    ("store", Layer::Shipped(3)),
    ("engine", Layer::Shipped(4)),
    ("server", Layer::Shipped(5)),
    ("tools", Layer::Shipped(5)),
    ("testkit", Layer::Development),
    ("fuzz", Layer::Development),
    ("xtask", Layer::Development),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check_imports(importer: &str, rest: &str, complaints: usize) {
        let text = format!("[package]\nname = \"{importer}\"\n{rest}");
        let found = check_manifest("x/Cargo.toml", &text);
        assert_eq!(found.len(), complaints, "{importer}: {rest}: {found:?}");
    }

    #[test]
    fn imports_go_downwards() {
        check_imports("store", "[dependencies]\nbase.workspace = true\nds = { path = \"../ds\" }", 0);
        check_imports("ds", "[dependencies]\nresp.workspace = true", 1);
        check_imports("ds", "[dependencies.store]\nworkspace = true", 1);
        check_imports("base", "[dependencies] # all\nlibc = \"1\"\n\n[lints]\nworkspace = true", 0);
        check_imports("base", "[target.'cfg(unix)'.dependencies]\nengine.workspace = true", 1);
        check_imports("engine", "[dev-dependencies]\ntestkit.workspace = true", 0);
        check_imports("engine", "[dependencies]\ntestkit.workspace = true", 1);
        check_imports("ds", "[dev-dependencies]\nserver.workspace = true", 1);
        check_imports("testkit", "[dependencies]\nserver.workspace = true", 0);
        check_imports("novel", "", 1);
    }
}
