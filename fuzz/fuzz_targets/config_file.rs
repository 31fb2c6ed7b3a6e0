//! Configuration files and command lines: any bytes are read or refused with a reason.
#![no_main]

use engine::config::Config;
use engine::config_file::{command_line, load, parse};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let options = String::from_utf8_lossy(choices.bytes(100)).into_owned();
    let included = choices.bytes(200).to_vec();
    let text = choices.rest();
    let words: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
    let line = command_line(&words);
    let mut include = |path: &str| match path.len() {
        0..8 => Ok(vec![(path.to_owned(), included.clone())]),
        8..12 => Ok(Vec::new()),
        _ => Err("there is no such file".to_owned()),
    };
    let loaded = load(text, "test.conf", &line.options, Config::default(), &mut include);
    match loaded {
        Ok(loaded) => assert!(loaded.warnings.iter().all(|warning| !warning.is_empty())),
        Err(reason) => assert!(!reason.is_empty()),
    }
    drop(parse(&options, "options", Config::default(), &mut include));
});
