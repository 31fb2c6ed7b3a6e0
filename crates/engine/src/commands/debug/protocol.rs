//! DEBUG PROTOCOL: a reply of each type, for those who write clients.

use resp::reply::Protocol;

use crate::command::CmdResult;
use crate::ctx::Ctx;
use crate::error::CmdError;

pub fn protocol(ctx: &mut Ctx) -> CmdResult {
    let name = ctx.text(2).to_lowercase();
    let reply = &mut *ctx.reply;
    match name.as_str() {
        "string" => reply.bulk(b"Hello World"),
        "integer" => reply.integer(12345),
        "double" => reply.double_text("3.141"),
        "bignum" => reply.big_number("1234567999999999999999999999999999999"),
        "null" => reply.null(),
        "true" => reply.bool(true),
        "false" => reply.bool(false),
        "verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        _ => return aggregate(ctx, &name),
    }
    Ok(())
}

fn aggregate(ctx: &mut Ctx, name: &str) -> CmdResult {
    let reply = &mut *ctx.reply;
    match name {
        "array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        "set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        "map" => {
            reply.map(3);
            (0..3).for_each(|number| {
                reply.integer(number);
                reply.bool(number == 1);
            });
        }
        _ => return annotated(ctx, name),
    }
    Ok(())
}

/// Replies with something before the reply.
fn annotated(ctx: &mut Ctx, name: &str) -> CmdResult {
    let reply = &mut *ctx.reply;
    match (name, reply.protocol) {
        ("attrib", Protocol::Resp3) => {
            reply.attribute(1);
            reply.bulk(b"key-popularity");
            reply.array(2);
            reply.bulk(b"key:123");
            reply.integer(90);
        }
        ("attrib", Protocol::Resp2) => {}
        ("push", Protocol::Resp3) => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
        }
        ("push", Protocol::Resp2) => return Err(CmdError::new("ERR RESP2 is not supported by this command")),
        _ => return Err(CmdError::new(UNKNOWN_TYPE)),
    }
    reply.bulk(match name {
        "push" => b"Some real reply following the push reply",
        _ => b"Some real reply following the attribute",
    });
    Ok(())
}

const UNKNOWN_TYPE: &str = "ERR Wrong protocol type name. Please use one of the following: \
                            string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
