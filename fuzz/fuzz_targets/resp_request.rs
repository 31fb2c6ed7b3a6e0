//! Requests: the parser neither panics nor allocates without reason, and where the input is cut makes no
//! difference.
#![no_main]

use fuzz::bounded;
use libfuzzer_sys::fuzz_target;
use resp::{Limits, Parser, Progress, ProtocolError, Span};

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    requests: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, input)) = data.split_first() else { return };
    let limits = Limits { authenticated: first & 1 == 0, ..Limits::default() };
    let step = usize::from(first >> 1) % 17 + 1;
    let whole = bounded(input.len(), 64 << 10, 200, || run(input, input.len().max(1), &limits));
    assert_eq!(run(input, step, &limits), whole);
});

/// Feeds the input in pieces of `step` bytes, as reads from a socket would.
fn run(input: &[u8], step: usize, limits: &Limits) -> Outcome {
    let (mut parser, mut spans, mut outcome) = (Parser::default(), Vec::new(), Outcome::default());
    let mut from = 0;
    for end in (step..input.len()).step_by(step).chain([input.len()]) {
        let input = &input[..end];
        loop {
            match parser.parse(input, from, limits, &mut spans) {
                Ok(Progress::Done { end, inline }) => {
                    assert!(end > from && end <= input.len());
                    let request = if inline { parser.take_inline() } else { arguments(input, &spans) };
                    outcome.requests.push(request);
                    from = end;
                    spans.clear();
                }
                Ok(Progress::More | Progress::Big { .. }) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
    }
    outcome
}

fn arguments(input: &[u8], spans: &[Span]) -> Vec<Vec<u8>> {
    spans.iter().map(|span| span.of(input).to_vec()).collect()
}
