//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO: a connection's wishes about client-side caching. What
//! becomes of them is the business of `tracking`.

use std::sync::atomic::Ordering;

use crate::clients::ClientId;
use crate::command::CmdResult;
use crate::ctx::Ctx;
use crate::error::CmdError;
use crate::session::Session;
use crate::tracking::{check_overlaps, mode};

pub fn tracking(ctx: &mut Ctx) -> CmdResult {
    let options = Options::parse(ctx)?;
    if ctx.args.is(2, "on") {
        options.check(ctx.session)?;
        ctx.engine.track(ctx.session, options.modes, options.redirect, &options.prefixes);
    } else if ctx.args.is(2, "off") {
        ctx.engine.untrack(ctx.session);
    } else {
        return Err(CmdError::SYNTAX);
    }
    ctx.reply.ok();
    Ok(())
}

#[derive(Default)]
struct Options<'a> {
    modes: u32,
    redirect: Option<ClientId>,
    prefixes: Vec<&'a [u8]>,
}

const MODES: [(&str, u32); 4] = [
    ("bcast", mode::BROADCAST),
    ("optin", mode::OPT_IN),
    ("optout", mode::OPT_OUT),
    ("noloop", mode::NO_LOOP),
];

impl<'a> Options<'a> {
    fn parse(ctx: &Ctx<'a, '_>) -> Result<Options<'a>, CmdError> {
        let args = ctx.args;
        let mut options = Options::default();
        let mut index = 3;
        while index < args.len() {
            let has_value = index + 1 < args.len();
            if has_value && args.is(index, "redirect") {
                index += 1;
                options.redirect_to(ctx, index)?;
            } else if has_value && args.is(index, "prefix") {
                index += 1;
                options.prefixes.push(args.at(index));
            } else if let Some((_, bit)) = MODES.iter().find(|(name, _)| args.is(index, name)) {
                options.modes |= bit;
            } else {
                return Err(CmdError::SYNTAX);
            }
            index += 1;
        }
        Ok(options)
    }

    fn redirect_to(&mut self, ctx: &Ctx<'a, '_>, index: usize) -> CmdResult {
        if self.redirect.is_some() {
            return Err(CmdError::new("ERR A client can only redirect to a single other client"));
        }
        let id = ClientId(ctx.args.integer(index)? as u64);
        if ctx.engine.clients.find(id).is_none() {
            return Err(CmdError::new("ERR The client ID you want redirect to does not exist"));
        }
        self.redirect = Some(id);
        Ok(())
    }

    /// Whether the options go together, and with what the client has asked for before.
    fn check(&self, session: &Session) -> CmdResult {
        let (old, new) = (session.client.tracking.modes(), self.modes);
        let choices = mode::OPT_IN | mode::OPT_OUT;
        let refusal = if new & mode::BROADCAST == 0 && !self.prefixes.is_empty() {
            "ERR PREFIX option requires BCAST mode to be enabled"
        } else if old != 0 && (old ^ new) & mode::BROADCAST != 0 {
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
             re-enabling it with a different mode."
        } else if new & mode::BROADCAST != 0 && new & choices != 0 {
            "ERR OPTIN and OPTOUT are not compatible with BCAST"
        } else if new & choices == choices {
            "ERR You can't specify both OPTIN mode and OPTOUT mode"
        } else if new & choices != 0 && (old | new) & choices == choices {
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
             re-enabling it with a different mode."
        } else {
            return check_overlaps(&session.tracking_prefixes, &self.prefixes);
        };
        Err(CmdError::new(refusal))
    }
}

pub fn caching(ctx: &mut Ctx) -> CmdResult {
    let state = &ctx.session.client.tracking;
    if !state.is_on() {
        return Err(CmdError::new(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled",
        ));
    }
    let (bit, refusal) = match (ctx.args.is(2, "yes"), ctx.args.is(2, "no")) {
        (true, _) => {
            (mode::OPT_IN, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
        }
        (_, true) => {
            (mode::OPT_OUT, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
        }
        _ => return Err(CmdError::SYNTAX),
    };
    if state.modes() & bit == 0 {
        return Err(CmdError::new(refusal));
    }
    state.begin_caching();
    ctx.reply.ok();
    Ok(())
}

pub fn getredir(ctx: &mut Ctx) -> CmdResult {
    ctx.reply.integer(ctx.session.client.tracking.shown_redirect());
    Ok(())
}

pub fn trackinginfo(ctx: &mut Ctx) -> CmdResult {
    let flags = flags(ctx.session);
    let reply = &mut *ctx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(ctx.session.client.tracking.shown_redirect());
    reply.bulk(b"prefixes");
    reply.array(ctx.session.tracking_prefixes.len());
    ctx.session.tracking_prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}

fn flags(session: &Session) -> Vec<&'static str> {
    let state = &session.client.tracking;
    let has = |bits: u32| state.modes() & bits == bits;
    let all = [
        (has(mode::ON), "on"),
        (!has(mode::ON), "off"),
        (has(mode::BROADCAST), "bcast"),
        (has(mode::OPT_IN), "optin"),
        (has(mode::OPT_IN | mode::CACHING), "caching-yes"),
        (has(mode::OPT_OUT), "optout"),
        (has(mode::OPT_OUT | mode::CACHING), "caching-no"),
        (has(mode::NO_LOOP), "noloop"),
        (state.broken.load(Ordering::Relaxed), "broken_redirect"),
    ];
    all.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect()
}
