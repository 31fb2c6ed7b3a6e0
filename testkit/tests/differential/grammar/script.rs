//! Requests of scripts and functions. `{lua}` is a script over one key and one argument, `{sha}` the name of
//! one, `{library}` the source of a library, `{function}` the name of a function in it.
//!
//! The words of a request stand apart by spaces, so a script has none outside of its texts: `~` stands for
//! one.

use base::random::Rng;

pub const TEMPLATES: &[&str] = &[
    "EVAL|EVAL|EVAL|EVAL_RO {lua} 1 {k}|{h}|{lkey}|{skey}|{zkey} {v}|{i}|{d}|{f}",
    "EVAL {lua} 1 {k} {v}",
    "EVAL {lua} 2 {k} {h} {f} {v}",
    "EVAL {lua} {n} {k} {v}",
    "EVALSHA|EVALSHA_RO {sha} 1 {k}|{h} {v}|{i}",
    "SCRIPT LOAD {lua}",
    "SCRIPT EXISTS {sha} {sha}",
    "FUNCTION LOAD [REPLACE] {library}",
    "FUNCTION DELETE one|two",
    "FUNCTION LIST [LIBRARYNAME o*] [WITHCODE]",
    "FUNCTION STATS",
    "FCALL|FCALL_RO {function} 1 {k}|{h}|{zkey} {v}|{f}",
    "FCALL {function} {n} {k} {v}",
];

/// A script that asks for a key's encoding, which `rules.rs` knows.
pub const ASKS_ENCODING: &str = "return redis.pcall('object','encoding',KEYS[1])";

/// What is put where the commands of a script have their replies.
const SCRIPTS: &[&str] = &[
    "return~redis.call('get',KEYS[1])",
    "return~redis.pcall('get',KEYS[1])",
    "return~redis.call('set',KEYS[1],ARGV[1])",
    "return~redis.pcall('incrby',KEYS[1],ARGV[1])",
    "return~redis.call('hset',KEYS[1],ARGV[1],ARGV[2]~or~'x')",
    "redis.setresp(3)~local~r=redis.pcall('hgetall',KEYS[1])~return~r.err~or~r.map[ARGV[1]]~or~0",
    "redis.setresp(3)~local~r=redis.pcall('hget',KEYS[1],ARGV[1])~return~{r==nil,r==false,r}",
    "redis.setresp(3)~local~r=redis.pcall('mget',KEYS[1],'k2','k3','k4','k5')~return~{#r,r[1],r[5]}",
    "redis.setresp(3)~local~r=redis.pcall('smembers',KEYS[1])~return~r.err~or~r.set[ARGV[1]]~or~0",
    "redis.setresp(3)~local~r=redis.pcall('zscore',KEYS[1],'m1')~return~type(r)",
    "redis.setresp(3)~return~redis.pcall('lpos',KEYS[1],ARGV[1])",
    "return~redis.pcall('lrange',KEYS[1],0,-1)",
    "redis.setresp(3)~return~{true,false,{double=2.5},{map={a=1}},{set={b=true}},{big_number='12'}}",
    "redis.setresp(3)~return~{verbatim_string={format='txt',string=ARGV[1]}}",
    "return~{true,false,{double=2.5},{map={a=1}},{set={b=true}},{big_number='12'}}",
    "return~{KEYS,ARGV,{ok='FINE'},{err='MINE~text'},nil,1}",
    "redis.call('rpush',KEYS[1],unpack(ARGV))~return~redis.call('llen',KEYS[1])",
    "redis.call('expire',KEYS[1],50000)~return~redis.call('ttl',KEYS[1])",
    "redis.call('select',1)~redis.call('set',KEYS[1],ARGV[1])~return~redis.call('dbsize')>0",
    "for~i=1,40~do~redis.call('hset',KEYS[1],'f'..i%20,i)~end~return~redis.call('hlen',KEYS[1])",
    "for~i=1,40~do~redis.call('zadd',KEYS[1],i%7,'m'..i)~end~return~redis.call('zcard',KEYS[1])",
    "for~i=1,20~do~redis.call('sadd',KEYS[1],i*3)~end~return~redis.call('scard',KEYS[1])",
    "return~redis.pcall('blmpop',0,1,KEYS[1],'left')",
    "local~r=redis.pcall('bzmpop',0,1,KEYS[1],'min')~return~type(r)",
    "return~redis.pcall('multi')",
    ASKS_ENCODING,
    "return~{redis.pcall('type',KEYS[1]),redis.pcall('exists',KEYS[1]),redis.pcall('pexpiretime',KEYS[1])>0}",
    "#!lua~flags=no-writes\nreturn~redis.pcall('set',KEYS[1],'x')",
    "#!lua\nreturn~redis.call('del',KEYS[1])",
    "return~redis.call('debug','object',KEYS[1])",
    "error({err='MINE~of~all'})",
    "error('text')",
    "return~redis.error_reply(ARGV[1])",
    "return~redis.status_reply('fine')",
    "return~+",
];

const LIBRARIES: &[&str] = &[
    "#!lua~name=one\nredis.register_function('put',function(k,a)~return~redis.call('set',k[1],a[1])~end)",
    "#!lua~name=one\nredis.register_function{function_name='look',flags={'no-writes'},\
     callback=function(k,a)~redis.setresp(3)~return~redis.call('hgetall',k[1])['map'][a[1]]~end}",
    "#!lua~name=two\nredis.register_function('count',function(k,a)~return~{#k,#a,redis.REPL_ALL}~end)",
    "#!lua~name=two\nredis.register_function('put',function()~end)",
    "#!lua~name=three\nreturn~+",
];

pub fn word(rng: &mut Rng, name: &str) -> Option<Vec<u8>> {
    let text = match name {
        "{lua}" => pick(rng, SCRIPTS).replace('~', " "),
        "{sha}" => base::sha1::hex(&base::sha1::sha1(pick(rng, SCRIPTS).replace('~', " ").as_bytes())),
        "{library}" => pick(rng, LIBRARIES).replace('~', " "),
        "{function}" => pick(rng, &["put", "look", "count", "none"]).to_owned(),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn pick<'a>(rng: &mut Rng, texts: &[&'a str]) -> &'a str {
    texts[rng.below(texts.len() as u64) as usize]
}
