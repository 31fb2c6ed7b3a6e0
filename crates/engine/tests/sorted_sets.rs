//! The commands of sorted sets, request by request, in both encodings; those that Redis 7.0 knows are
//! compared with it.

mod common;

use std::collections::BTreeSet;

use base::random::Rng;
use common::check_as_redis;
use engine::testing::checks::{Script, check_draws, check_replay, check_scripts, scan_all, texts};
use engine::testing::{TestEngine, show};
use resp::reply::Protocol;

const MEMBERS: Script = &[
    ("ZADD z 1 a 2 b", "2"),
    ("ZADD z 1 a 3 b 4 c", "1"),
    ("ZADD z CH 1 a 5 b 6 d", "2"),
    ("ZADD z NX 9 a 9 e", "1"),
    ("ZADD z XX 8 a 8 x", "0"),
    ("ZADD z XX CH 8 a 7 e", "1"),
    ("ZADD z GT 7 a 9 e", "0"),
    ("ZADD z GT CH 7 a 10 e", "1"),
    ("ZADD z LT CH 7 a 11 e", "1"),
    ("ZADD z GT CH 1 new", "1"),
    ("ZADD z XX GT CH 1 absent 20 new", "1"),
    (
        "ZRANGE z 0 -1 WITHSCORES",
        "[\"c\" \"4\" \"b\" \"5\" \"d\" \"6\" \"a\" \"7\" \"e\" \"10\" \"new\" \"20\"]",
    ),
    ("ZADD missing XX 1 a", "0"),
    ("EXISTS missing", "0"),
    ("ZADD missing XX INCR 1 a", "nil"),
    ("ZADD z INCR 2.5 a", "\"9.5\""),
    ("ZADD z NX INCR 2.5 a", "nil"),
    ("ZADD z XX INCR 2.5 absent", "nil"),
    ("ZADD z GT INCR -1 a", "nil"),
    ("ZADD z LT INCR -1 a", "\"8.5\""),
    ("ZADD z gt xx incr 1 a", "\"9.5\""),
    ("ZINCRBY z 1e3 a", "\"1009.5\""),
    ("ZINCRBY z 0.1 fresh", "\"0.1\""),
    ("ZINCRBY fresh -1 a", "\"-1\""),
    ("ZSCORE fresh a", "\"-1\""),
    ("ZSCORE z a", "\"1009.5\""),
    ("ZSCORE z absent", "nil"),
    ("ZSCORE missing a", "nil"),
    ("ZMSCORE z a absent b", "[\"1009.5\" nil \"5\"]"),
    ("ZMSCORE missing a b", "[nil nil]"),
    ("ZCARD z", "7"),
    ("ZCARD missing", "0"),
    ("ZRANK z a", "6"),
    ("ZREVRANK z a", "0"),
    ("ZRANK z absent", "nil"),
    ("ZRANK missing a", "nil"),
    ("ZREVRANK missing a", "nil"),
    ("ZREM z a absent a b", "2"),
    ("ZREM missing a", "0"),
    ("ZREM z c d e new", "4"),
    ("ZREM z fresh", "1"),
    ("EXISTS z", "0"),
    ("ZADD z 5 \"\" -1 12 -1 -12 0 012", "4"),
    ("ZRANGE z 0 -1 WITHSCORES", "[\"-12\" \"-1\" \"12\" \"-1\" \"012\" \"0\" \"\" \"5\"]"),
    ("ZSCORE z \"\"", "\"5\""),
    ("ZSCORE z 12", "\"-1\""),
    ("ZRANK z -12", "0"),
    ("OBJECT ENCODING z", "\"listpack\""),
    ("TYPE z", "+zset"),
    ("DEL z", "1"),
    ("ZADD z -0 a 0 b -0 c", "3"),
    ("ZRANGE z 0 -1 WITHSCORES", "[\"a\" \"0\" \"b\" \"0\" \"c\" \"0\"]"),
    ("ZADD z CH 0 a", "0"),
    ("ZSCORE z a", "\"0\""),
    ("ZADD z inf i -inf j +inf k", "3"),
    (
        "ZRANGE z 0 -1 WITHSCORES",
        "[\"j\" \"-inf\" \"a\" \"0\" \"b\" \"0\" \"c\" \"0\" \"i\" \"inf\" \"k\" \"inf\"]",
    ),
    ("ZADD z INCR -inf i", "-ERR resulting score is not a number (NaN)"),
    ("ZADD z INCR -inf a", "\"-inf\""),
    ("ZADD z INCR inf a", "-ERR resulting score is not a number (NaN)"),
    ("ZADD z 1e400 big", "-ERR value is not a valid float"),
    ("ZADD z 0x10 hex 1.5e300 big 3.0 three .5 half 5. five 1e-5 tiny 123456789012345678 long", "7"),
    (
        "ZRANGE z 0 -1 WITHSCORES",
        "[\"a\" \"-inf\" \"j\" \"-inf\" \"b\" \"0\" \"c\" \"0\" \"tiny\" \"0.00001\" \
         \"half\" \"0.5\" \"three\" \"3\" \"five\" \"5\" \"hex\" \"16\" \"long\" \
         \"123456789012345680\" \"big\" \"1.5e+300\" \"i\" \"inf\" \"k\" \"inf\"]",
    ),
];

const NUMBERS: Script = &[
    ("ZADD z 0.1 a", "1"),
    ("ZADD z 1e16 b 1e17 c 99999999999999999 d 1.7976931348623157e308 e 5e-324 f", "5"),
    ("ZADD z 3.141592653589793 g 100000 h 1234567.891 i -0.000012345 j", "4"),
    (
        "ZRANGE z 0 -1 WITHSCORES",
        "[\"j\" \"-1.2345e-5\" \"f\" \"5e-324\" \"a\" \"0.1\" \"g\" \
         \"3.141592653589793\" \"h\" \"100000\" \"i\" \"1234567.891\" \"b\" \"10000000000000000\" \
         \"c\" \"100000000000000000\" \"d\" \"100000000000000000\" \"e\" \"1.7976931348623157e+308\"]",
    ),
    ("ZSCAN z 0 MATCH [cd]", "[\"0\" [\"c\" \"100000000000000000\" \"d\" \"100000000000000000\"]]"),
    ("ZINCRBY z 0.2 a", "\"0.30000000000000004\""),
    ("ZINCRBY z 1 a", "\"1.3\""),
    ("ZINCRBY z -1.3 a", "\"0\""),
    ("ZSCORE z a", "\"0\""),
];

const ADD_ERRORS: Script = &[
    ("SET s 1", "+OK"),
    ("ZADD z 1", "-ERR wrong number of arguments for 'zadd' command"),
    ("ZADD z", "-ERR wrong number of arguments for 'zadd' command"),
    ("ZADD z 1 a 2", "-ERR syntax error"),
    ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
    ("ZADD z NX GT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
    ("ZADD z NX LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
    ("ZADD z GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
    ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
    ("ZADD z NX", "-ERR wrong number of arguments for 'zadd' command"),
    ("ZADD z NX XX", "-ERR syntax error"),
    ("ZADD z NX XX x a", "-ERR XX and NX options at the same time are not compatible"),
    ("ZADD z x a", "-ERR value is not a valid float"),
    ("ZADD z nan a", "-ERR value is not a valid float"),
    ("ZADD z \"1 \" a", "-ERR value is not a valid float"),
    ("ZADD z \" 1\" a", "-ERR value is not a valid float"),
    ("ZADD z \"\" a", "-ERR value is not a valid float"),
    ("ZADD z 1 a x b", "-ERR value is not a valid float"),
    ("EXISTS z", "0"),
    ("ZADD s 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZADD s XX 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZADD s x a", "-ERR value is not a valid float"),
    ("ZINCRBY s 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZINCRBY z x a", "-ERR value is not a valid float"),
    ("ZINCRBY z nx a", "-ERR syntax error"),
    ("ZINCRBY z 1", "-ERR wrong number of arguments for 'zincrby' command"),
    ("ZINCRBY z 1 a 2 b", "-ERR wrong number of arguments for 'zincrby' command"),
    ("ZADD z NX XX INCR GT LT CH 1 a", "-ERR XX and NX options at the same time are not compatible"),
    ("ZADD z CH CH CH 1 a", "1"),
    ("ZADD z INCR CH 1 a", "\"2\""),
    ("ZCARD s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZSCORE s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZMSCORE s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZRANK s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREVRANK s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREM s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZRANDMEMBER s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZRANDMEMBER s 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZSCAN s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZPOPMIN s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZPOPMAX s 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZMPOP 1 s MIN", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("BZPOPMIN s 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("BZMPOP 1 1 s MAX", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZRANGE s 0 -1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZRANGESTORE d s 0 -1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREVRANGE s 0 -1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZRANGEBYSCORE s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREVRANGEBYSCORE s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZRANGEBYLEX s - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREVRANGEBYLEX s + -", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZCOUNT s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZLEXCOUNT s - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREMRANGEBYRANK s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREMRANGEBYSCORE s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZREMRANGEBYLEX s - +", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZUNION 1 s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZINTER 1 s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZDIFF 1 s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZUNIONSTORE d 1 s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZINTERSTORE d 1 s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZDIFFSTORE d 1 s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZINTERCARD 1 s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
];

const RANGES: Script = &[
    ("ZADD z 1 a 2 b 3 c 4 d 5 e", "5"),
    ("ZRANGE z 0 -1", "[\"a\" \"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGE z 1 2", "[\"b\" \"c\"]"),
    ("ZRANGE z -2 -1", "[\"d\" \"e\"]"),
    ("ZRANGE z 3 100", "[\"d\" \"e\"]"),
    ("ZRANGE z 5 6", "[]"),
    ("ZRANGE z 3 1", "[]"),
    ("ZRANGE z -100 1", "[\"a\" \"b\"]"),
    ("ZRANGE z -100 -90", "[]"),
    ("ZRANGE z 0 0 WITHSCORES", "[\"a\" \"1\"]"),
    ("ZRANGE z 0 1 REV", "[\"e\" \"d\"]"),
    ("ZRANGE z 0 1 REV WITHSCORES", "[\"e\" \"5\" \"d\" \"4\"]"),
    ("ZRANGE z -1 -1 REV", "[\"a\"]"),
    ("ZREVRANGE z 0 1", "[\"e\" \"d\"]"),
    ("ZREVRANGE z 1 -2 WITHSCORES", "[\"d\" \"4\" \"c\" \"3\" \"b\" \"2\"]"),
    ("ZREVRANGE z 9 10", "[]"),
    ("ZRANGE z -9223372036854775808 9223372036854775807", "[\"a\" \"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGE z 9223372036854775807 9223372036854775807", "[]"),
    ("ZRANGE z 2 4 BYSCORE", "[\"b\" \"c\" \"d\"]"),
    ("ZRANGE z (2 4 BYSCORE", "[\"c\" \"d\"]"),
    ("ZRANGE z (2 (4 BYSCORE", "[\"c\"]"),
    ("ZRANGE z 2 (4 BYSCORE WITHSCORES", "[\"b\" \"2\" \"c\" \"3\"]"),
    ("ZRANGE z -inf +inf BYSCORE", "[\"a\" \"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGE z 4 2 BYSCORE", "[]"),
    ("ZRANGE z 4 2 BYSCORE REV", "[\"d\" \"c\" \"b\"]"),
    ("ZRANGE z +inf (2 BYSCORE REV LIMIT 1 1", "[\"d\"]"),
    ("ZRANGE z 0 10 BYSCORE LIMIT 1 2", "[\"b\" \"c\"]"),
    ("ZRANGE z 0 10 BYSCORE LIMIT 4 10", "[\"e\"]"),
    ("ZRANGE z 0 10 BYSCORE LIMIT 5 10", "[]"),
    ("ZRANGE z 0 10 BYSCORE LIMIT 0 0", "[]"),
    ("ZRANGE z 0 10 BYSCORE LIMIT 1 -1", "[\"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGE z 0 10 BYSCORE LIMIT 1 -5", "[\"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGE z 0 10 BYSCORE LIMIT -1 2", "[]"),
    ("ZRANGEBYSCORE z 2 4", "[\"b\" \"c\" \"d\"]"),
    ("ZRANGEBYSCORE z (1 +inf LIMIT 1 2 WITHSCORES", "[\"c\" \"3\" \"d\" \"4\"]"),
    ("ZREVRANGEBYSCORE z 4 2", "[\"d\" \"c\" \"b\"]"),
    ("ZREVRANGEBYSCORE z +inf -inf WITHSCORES LIMIT 0 2", "[\"e\" \"5\" \"d\" \"4\"]"),
    ("ZREVRANGEBYSCORE z 4 2 LIMIT -1 2", "[]"),
    ("ZCOUNT z 2 4", "3"),
    ("ZCOUNT z (2 4", "2"),
    ("ZCOUNT z (2 (2", "0"),
    ("ZCOUNT z -inf inf", "5"),
    ("ZCOUNT z 5 1", "0"),
    ("ZCOUNT z \"\" \"\"", "0"),
    ("ZCOUNT z \"(\" 1", "1"),
    ("ZCOUNT z \" 2\" 3", "2"),
    ("ZCOUNT z -1e400 1e400", "5"),
    ("ZCOUNT z 0x2 0x3", "2"),
    ("ZCOUNT missing 0 1", "0"),
    ("ZRANGE missing 0 -1", "[]"),
    ("ZRANGE missing 0 -1 BYSCORE", "[]"),
    ("ZRANGEBYSCORE missing 0 1", "[]"),
    ("ZRANGEBYLEX missing - +", "[]"),
    ("ZRANGE z 0 1 WITHSCORES WITHSCORES REV", "[\"e\" \"5\" \"d\" \"4\"]"),
    ("ZRANGE z 0 1 BYSCORE BYSCORE", "-ERR syntax error"),
    ("ZRANGE z 0 1 REV REV", "-ERR syntax error"),
    ("ZRANGE z [a [c BYLEX BYSCORE", "-ERR syntax error"),
    ("ZRANGE z 0 1 LIMIT 0 -1", "[\"a\" \"b\"]"),
    (
        "ZRANGE z 0 1 LIMIT 0 1",
        "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
    ),
    (
        "ZRANGE z [a [c BYLEX WITHSCORES",
        "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
    ),
    (
        "ZRANGEBYLEX z [a [c WITHSCORES",
        "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
    ),
    ("ZRANGE z 0 1 LIMIT 0", "-ERR syntax error"),
    ("ZRANGE z 0 1 BYSCORE LIMIT 0 x", "-ERR value is not an integer or out of range"),
    ("ZRANGE z 0 1 FOO", "-ERR syntax error"),
    ("ZRANGE z x 1", "-ERR value is not an integer or out of range"),
    ("ZRANGE z 0 1.5", "-ERR value is not an integer or out of range"),
    ("ZRANGE z x 1 BYSCORE", "-ERR min or max is not a float"),
    ("ZRANGE z nan 1 BYSCORE", "-ERR min or max is not a float"),
    ("ZRANGE z 0 \"1 \" BYSCORE", "-ERR min or max is not a float"),
    ("ZRANGEBYSCORE z 0 1 REV", "-ERR syntax error"),
    ("ZRANGEBYSCORE z 0 1 BYLEX", "-ERR syntax error"),
    ("ZREVRANGE z 0 1 BYSCORE", "-ERR syntax error"),
    (
        "ZREVRANGE z 0 1 LIMIT 0 1",
        "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
    ),
    ("ZCOUNT z x 1", "-ERR min or max is not a float"),
    ("ZCOUNT z 0 \"(x\"", "-ERR min or max is not a float"),
    ("ZCOUNT z 1 \"( \"", "-ERR min or max is not a float"),
];

const LEX: Script = &[
    ("ZADD z 0 a 0 b 0 c 0 d 0 e 0 aa 0 \"\"", "7"),
    ("ZRANGEBYLEX z - +", "[\"\" \"a\" \"aa\" \"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGEBYLEX z [a [c", "[\"a\" \"aa\" \"b\" \"c\"]"),
    ("ZRANGEBYLEX z (a (c", "[\"aa\" \"b\"]"),
    ("ZRANGEBYLEX z [aaa +", "[\"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGEBYLEX z - (b", "[\"\" \"a\" \"aa\"]"),
    ("ZRANGEBYLEX z + -", "[]"),
    ("ZRANGEBYLEX z [c [a", "[]"),
    ("ZRANGEBYLEX z (b (b", "[]"),
    ("ZRANGEBYLEX z [b [b", "[\"b\"]"),
    ("ZRANGEBYLEX z [ [", "[\"\"]"),
    ("ZRANGEBYLEX z ( +", "[\"a\" \"aa\" \"b\" \"c\" \"d\" \"e\"]"),
    ("ZRANGEBYLEX z - + LIMIT 1 3", "[\"a\" \"aa\" \"b\"]"),
    ("ZREVRANGEBYLEX z + - LIMIT 1 3", "[\"d\" \"c\" \"b\"]"),
    ("ZREVRANGEBYLEX z (e [b", "[\"d\" \"c\" \"b\"]"),
    ("ZRANGE z [b [d BYLEX", "[\"b\" \"c\" \"d\"]"),
    ("ZRANGE z [d [b BYLEX REV", "[\"d\" \"c\" \"b\"]"),
    ("ZRANGE z + - BYLEX REV LIMIT 0 2", "[\"e\" \"d\"]"),
    ("ZLEXCOUNT z - +", "7"),
    ("ZLEXCOUNT z [b (d", "2"),
    ("ZLEXCOUNT z + -", "0"),
    ("ZLEXCOUNT missing - +", "0"),
    ("ZRANGEBYLEX z a [b", "-ERR min or max not valid string range item"),
    ("ZRANGEBYLEX z [a b", "-ERR min or max not valid string range item"),
    ("ZRANGEBYLEX z \"\" +", "-ERR min or max not valid string range item"),
    ("ZRANGEBYLEX z -x +", "-ERR min or max not valid string range item"),
    ("ZRANGEBYLEX z - ++", "-ERR min or max not valid string range item"),
    ("ZLEXCOUNT z 1 2", "-ERR min or max not valid string range item"),
    ("ZREMRANGEBYLEX z foo +", "-ERR min or max not valid string range item"),
    ("ZREMRANGEBYLEX z [aa (c", "2"),
    ("ZREMRANGEBYLEX z [aa (c", "0"),
    ("ZREMRANGEBYLEX missing - +", "0"),
    ("ZRANGE z 0 -1", "[\"\" \"a\" \"c\" \"d\" \"e\"]"),
    ("ZREMRANGEBYLEX z - +", "5"),
    ("EXISTS z", "0"),
];

const REMOVED: Script = &[
    ("ZADD z 1 a 2 b 3 c 4 d 5 e", "5"),
    ("ZREMRANGEBYRANK z 0 0", "1"),
    ("ZREMRANGEBYRANK z -1 -1", "1"),
    ("ZREMRANGEBYRANK z 5 6", "0"),
    ("ZREMRANGEBYRANK z 2 1", "0"),
    ("ZREMRANGEBYRANK z x 1", "-ERR value is not an integer or out of range"),
    ("ZREMRANGEBYRANK missing 0 -1", "0"),
    ("ZRANGE z 0 -1", "[\"b\" \"c\" \"d\"]"),
    ("ZREMRANGEBYSCORE z (2 3", "1"),
    ("ZREMRANGEBYSCORE z (4 5", "0"),
    ("ZREMRANGEBYSCORE z x 5", "-ERR min or max is not a float"),
    ("ZREMRANGEBYSCORE missing 0 1", "0"),
    ("ZRANGE z 0 -1", "[\"b\" \"d\"]"),
    ("ZREMRANGEBYSCORE z -inf +inf", "2"),
    ("EXISTS z", "0"),
    ("ZADD z 1 a", "1"),
    ("ZREMRANGEBYRANK z 0 -1", "1"),
    ("EXISTS z", "0"),
];

const STORED: Script = &[
    ("ZADD z 1 a 2 b 3 c 4 d 5 e", "5"),
    ("ZRANGESTORE d z 1 3", "3"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"b\" \"2\" \"c\" \"3\" \"d\" \"4\"]"),
    ("ZRANGESTORE d z 2 4 BYSCORE LIMIT 1 1", "1"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"c\" \"3\"]"),
    ("ZRANGESTORE d z 1 0 REV", "0"),
    ("ZRANGESTORE d z 0 1 REV", "2"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"d\" \"4\" \"e\" \"5\"]"),
    ("ZRANGESTORE d z [b [d BYLEX", "3"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"b\" \"2\" \"c\" \"3\" \"d\" \"4\"]"),
    ("ZRANGESTORE z z 0 1", "2"),
    ("ZRANGE z 0 -1", "[\"a\" \"b\"]"),
    ("SET s x", "+OK"),
    ("ZRANGESTORE s z 0 -1", "2"),
    ("TYPE s", "+zset"),
    ("ZRANGESTORE s missing 0 -1", "0"),
    ("EXISTS s", "0"),
    ("ZRANGESTORE s z 5 6", "0"),
    ("ZRANGESTORE d z 5 6", "0"),
    ("EXISTS d", "0"),
    ("ZRANGESTORE d z 0 1 WITHSCORES", "-ERR syntax error"),
    (
        "ZRANGESTORE d z 0 1 LIMIT 0 1",
        "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
    ),
    ("ZRANGESTORE d z x 1", "-ERR value is not an integer or out of range"),
    ("ZRANGESTORE d z x 1 BYSCORE", "-ERR min or max is not a float"),
    ("ZRANGESTORE d z - 1 BYLEX", "-ERR min or max not valid string range item"),
];

const ALGEBRA: Script = &[
    ("ZADD x 1 a 2 b 3 c", "3"),
    ("ZADD y 10 b 20 c 30 d", "3"),
    ("ZADD e 5 e", "1"),
    ("ZUNION 2 x y", "[\"a\" \"b\" \"c\" \"d\"]"),
    ("ZUNION 2 x y WITHSCORES", "[\"a\" \"1\" \"b\" \"12\" \"c\" \"23\" \"d\" \"30\"]"),
    ("ZINTER 2 x y WITHSCORES", "[\"b\" \"12\" \"c\" \"23\"]"),
    ("ZDIFF 2 x y WITHSCORES", "[\"a\" \"1\"]"),
    ("ZDIFF 2 x missing", "[\"a\" \"b\" \"c\"]"),
    ("ZDIFF 2 missing x", "[]"),
    ("ZDIFF 2 x x", "[]"),
    ("ZDIFF 3 x y e WITHSCORES", "[\"a\" \"1\"]"),
    ("ZUNION 1 missing", "[]"),
    ("ZINTER 2 x missing", "[]"),
    ("ZINTER 2 x x WITHSCORES", "[\"a\" \"2\" \"b\" \"4\" \"c\" \"6\"]"),
    (
        "ZUNION 3 x y e WEIGHTS 2 0.5 -1 WITHSCORES",
        "[\"e\" \"-5\" \"a\" \"2\" \"b\" \"9\" \"d\" \"15\" \"c\" \"16\"]",
    ),
    (
        "ZUNION 2 x y WEIGHTS 2 3 AGGREGATE MIN WITHSCORES",
        "[\"a\" \"2\" \"b\" \"4\" \"c\" \"6\" \"d\" \"90\"]",
    ),
    ("ZUNION 2 x y AGGREGATE MAX WITHSCORES", "[\"a\" \"1\" \"b\" \"10\" \"c\" \"20\" \"d\" \"30\"]"),
    ("ZINTER 2 x y WEIGHTS 1 -1 AGGREGATE MIN WITHSCORES", "[\"c\" \"-20\" \"b\" \"-10\"]"),
    ("ZINTER 2 x y aggregate max withscores weights 5 1", "[\"b\" \"10\" \"c\" \"20\"]"),
    ("ZUNIONSTORE d 2 x y", "4"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"a\" \"1\" \"b\" \"12\" \"c\" \"23\" \"d\" \"30\"]"),
    ("ZINTERSTORE d 2 x y WEIGHTS 1 2", "2"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"b\" \"22\" \"c\" \"43\"]"),
    ("ZDIFFSTORE d 2 x y", "1"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"a\" \"1\"]"),
    ("ZDIFFSTORE d 2 x x", "0"),
    ("EXISTS d", "0"),
    ("SET s 1", "+OK"),
    ("ZUNIONSTORE s 1 x", "3"),
    ("TYPE s", "+zset"),
    ("ZUNIONSTORE x 2 x y", "4"),
    ("ZRANGE x 0 -1 WITHSCORES", "[\"a\" \"1\" \"b\" \"12\" \"c\" \"23\" \"d\" \"30\"]"),
    ("ZINTERSTORE s 2 x missing", "0"),
    ("EXISTS s", "0"),
    ("ZINTERSTORE s 2 x missing", "0"),
    ("ZINTERCARD 2 x y", "3"),
    ("ZINTERCARD 2 x y LIMIT 1", "1"),
    ("ZINTERCARD 2 x y LIMIT 0", "3"),
    ("ZINTERCARD 2 x y LIMIT 9", "3"),
    ("ZINTERCARD 1 missing", "0"),
    ("ZINTERCARD 2 x missing", "0"),
    ("ZINTERCARD 2 x y LIMIT -1", "-ERR LIMIT can't be negative"),
    ("ZINTERCARD 2 x y LIMIT x", "-ERR LIMIT can't be negative"),
    ("ZINTERCARD 2 x y LIMIT", "-ERR syntax error"),
    ("ZINTERCARD 2 x y WITHSCORES", "-ERR syntax error"),
    ("ZINTERCARD 2 x y WEIGHTS 1 1", "-ERR syntax error"),
    ("ZINTERCARD 0 x", "-ERR at least 1 input key is needed for 'zintercard' command"),
    ("ZUNION 0 x", "-ERR at least 1 input key is needed for 'zunion' command"),
    ("ZUNIONSTORE d 0 x", "-ERR at least 1 input key is needed for 'zunionstore' command"),
    ("ZINTER -1 x", "-ERR at least 1 input key is needed for 'zinter' command"),
    ("ZDIFFSTORE d x x", "-ERR value is not an integer or out of range"),
    ("ZUNION 3 x y", "-ERR syntax error"),
    ("ZUNION 1 x WEIGHTS", "-ERR syntax error"),
    ("ZUNION 1 x WEIGHTS x", "-ERR weight value is not a float"),
    ("ZUNION 1 x WEIGHTS nan", "-ERR weight value is not a float"),
    ("ZUNION 1 x WEIGHTS 1 2", "-ERR syntax error"),
    ("ZUNION 1 x AGGREGATE", "-ERR syntax error"),
    ("ZUNION 1 x AGGREGATE avg", "-ERR syntax error"),
    ("ZUNION 1 x y", "-ERR syntax error"),
    ("ZDIFF 1 x WEIGHTS 1", "-ERR syntax error"),
    ("ZDIFF 1 x AGGREGATE SUM", "-ERR syntax error"),
    ("ZUNIONSTORE d 1 x WITHSCORES", "-ERR syntax error"),
    ("ZDIFFSTORE d 1 x WITHSCORES", "-ERR syntax error"),
    ("SET s 1", "+OK"),
    ("ZUNION 2 x s FOO", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZUNION 2 x y WEIGHTS 1", "-ERR syntax error"),
    ("ZADD i inf a", "1"),
    ("ZADD j -inf a", "1"),
    ("ZUNION 2 i j WITHSCORES", "[\"a\" \"0\"]"),
    ("ZINTER 2 i j WITHSCORES", "[\"a\" \"0\"]"),
    ("ZUNION 2 i j WEIGHTS 0 1 WITHSCORES", "[\"a\" \"-inf\"]"),
    ("ZINTER 2 i j WEIGHTS 0 0 WITHSCORES", "[\"a\" \"0\"]"),
    ("ZUNION 2 i j WEIGHTS 0 0 AGGREGATE MIN WITHSCORES", "[\"a\" \"0\"]"),
];

const PLAIN_SETS: Script = &[
    ("SADD p a b c", "3"),
    ("SADD q 1 2 3", "3"),
    ("ZADD z 5 a 7 2 9 x", "3"),
    (
        "ZUNION 3 p q z WITHSCORES",
        "[\"1\" \"1\" \"3\" \"1\" \"b\" \"1\" \"c\" \"1\" \"a\" \"6\" \"2\" \"8\" \"x\" \"9\"]",
    ),
    ("ZINTER 2 p z WITHSCORES", "[\"a\" \"6\"]"),
    ("ZINTER 2 q z WEIGHTS 10 2 WITHSCORES", "[\"2\" \"24\"]"),
    ("ZDIFF 2 z p WITHSCORES", "[\"2\" \"7\" \"x\" \"9\"]"),
    ("ZDIFF 3 p q z WITHSCORES", "[\"b\" \"1\" \"c\" \"1\"]"),
    ("ZUNIONSTORE d 2 p q WEIGHTS 2 3", "6"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"a\" \"2\" \"b\" \"2\" \"c\" \"2\" \"1\" \"3\" \"2\" \"3\" \"3\" \"3\"]"),
    ("ZINTERCARD 2 q z", "1"),
    ("ZUNION 1 q", "[\"1\" \"2\" \"3\"]"),
    ("ZADD q 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
];

const POPS: Script = &[
    ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f", "6"),
    ("ZPOPMIN z", "[\"a\" \"1\"]"),
    ("ZPOPMAX z", "[\"f\" \"6\"]"),
    ("ZPOPMIN z 2", "[\"b\" \"2\" \"c\" \"3\"]"),
    ("ZPOPMAX z 1", "[\"e\" \"5\"]"),
    ("ZPOPMIN z 0", "[]"),
    ("ZPOPMIN z -1", "-ERR value is out of range, must be positive"),
    ("ZPOPMIN z x", "-ERR value is out of range, must be positive"),
    ("ZPOPMIN z 1 2", "-ERR syntax error"),
    ("ZPOPMIN missing", "[]"),
    ("ZPOPMIN missing 0", "[]"),
    ("ZPOPMAX z 10", "[\"d\" \"4\"]"),
    ("EXISTS z", "0"),
    ("ZADD z 1 a 2 b 3 c", "3"),
    ("ZADD y 9 z", "1"),
    ("ZMPOP 1 missing MIN", "nil"),
    ("ZMPOP 2 missing z MIN", "[\"z\" [[\"a\" \"1\"]]]"),
    ("ZMPOP 2 missing z MAX COUNT 10", "[\"z\" [[\"c\" \"3\"] [\"b\" \"2\"]]]"),
    ("EXISTS z", "0"),
    ("ZMPOP 2 z y min count 1", "[\"y\" [[\"z\" \"9\"]]]"),
    ("EXISTS y", "0"),
    ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0"),
    ("ZMPOP -1 z MIN", "-ERR numkeys should be greater than 0"),
    ("ZMPOP x z MIN", "-ERR numkeys should be greater than 0"),
    ("ZMPOP 2 z MIN", "-ERR syntax error"),
    ("ZMPOP 1 z MIDDLE", "-ERR syntax error"),
    ("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0"),
    ("ZMPOP 1 z MIN COUNT x", "-ERR count should be greater than 0"),
    ("ZMPOP 1 z MIN COUNT", "-ERR syntax error"),
    ("ZMPOP 1 z MIN COUNT 1 COUNT 2", "-ERR syntax error"),
    ("ZMPOP 1 z MIN FOO", "-ERR syntax error"),
    ("ZMPOP 9223372036854775807 z MIN", "-ERR syntax error"),
    ("SET s 1", "+OK"),
    ("ZMPOP 2 missing s MIN", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("ZADD z 1 a", "1"),
    ("ZMPOP 2 z s MIN", "[\"z\" [[\"a\" \"1\"]]]"),
    ("ZADD z 1 a 2 b 3 c 4 d", "4"),
    ("BZPOPMIN missing z 1", "[\"z\" \"a\" \"1\"]"),
    ("BZPOPMAX z missing 0", "[\"z\" \"d\" \"4\"]"),
    ("BZMPOP 1 2 missing z MIN COUNT 1", "[\"z\" [[\"b\" \"2\"]]]"),
    ("BZMPOP 0 1 z MAX", "[\"z\" [[\"c\" \"3\"]]]"),
    ("BZPOPMIN z x", "-ERR timeout is not a float or out of range"),
    ("BZPOPMIN z -1", "-ERR timeout is negative"),
    ("BZMPOP x 1 z MIN", "-ERR timeout is not a float or out of range"),
    ("BZMPOP x 0 z MIN", "-ERR numkeys should be greater than 0"),
    ("BZMPOP -1 1 z MIN", "-ERR timeout is negative"),
    ("BZMPOP 1 1 z MIDDLE", "-ERR syntax error"),
    ("BZMPOP 1 2 z MIN", "-ERR syntax error"),
    ("BZMPOP 1 1 z MIN COUNT 0", "-ERR count should be greater than 0"),
];

const NO_WAITING: Script = &[
    ("MULTI", "+OK"),
    ("BZPOPMIN z 0", "+QUEUED"),
    ("BZMPOP 0 1 z MIN", "+QUEUED"),
    ("ZADD z 1 a", "+QUEUED"),
    ("BZPOPMAX z 0", "+QUEUED"),
    ("EXEC", "[nil nil 1 [\"z\" \"a\" \"1\"]]"),
];

const RANDOM: Script = &[
    ("ZADD z 1 a", "1"),
    ("ZRANDMEMBER z", "\"a\""),
    ("ZRANDMEMBER missing", "nil"),
    ("ZRANDMEMBER missing 1", "[]"),
    ("ZRANDMEMBER z 0", "[]"),
    ("ZRANDMEMBER z 1", "[\"a\"]"),
    ("ZRANDMEMBER z 5 WITHSCORES", "[\"a\" \"1\"]"),
    ("ZRANDMEMBER z -3", "[\"a\" \"a\" \"a\"]"),
    ("ZRANDMEMBER z -2 WITHSCORES", "[\"a\" \"1\" \"a\" \"1\"]"),
    ("ZRANDMEMBER z x", "-ERR value is not an integer or out of range"),
    ("ZRANDMEMBER z 1 FOO", "-ERR syntax error"),
    ("ZRANDMEMBER z 1 WITHSCORES 2", "-ERR syntax error"),
    (
        "ZRANDMEMBER z -9223372036854775808",
        "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    ),
    ("ZRANDMEMBER z -9223372036854775807 WITHSCORES", "-ERR value is out of range"),
    ("ZRANDMEMBER missing -4611686018427387904 WITHSCORES", "-ERR value is out of range"),
    ("ZSCAN z 0", "[\"0\" [\"a\" \"1\"]]"),
    ("ZSCAN missing 0", "[\"0\" []]"),
    ("ZSCAN z x", "-ERR invalid cursor"),
    ("ZSCAN z 0 COUNT 0", "-ERR syntax error"),
    ("ZSCAN z 0 COUNT", "-ERR syntax error"),
    ("ZSCAN z 0 FOO bar", "-ERR syntax error"),
    ("ZADD z 1.5 b 0.1 c", "2"),
    ("ZSCAN z 0 MATCH b COUNT 100", "[\"0\" [\"b\" \"1.5\"]]"),
    ("ZSCAN z 0 MATCH *", "[\"0\" [\"c\" \"0.1\" \"a\" \"1\" \"b\" \"1.5\"]]"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[
        MEMBERS, NUMBERS, ADD_ERRORS, RANGES, LEX, REMOVED, STORED, ALGEBRA, PLAIN_SETS, POPS, NO_WAITING,
        RANDOM,
    ]);
}

/// What Redis 7.0 does not know.
const NEWER: Script = &[
    ("ZADD z 1 a 2.5 b 2.5 c", "3"),
    ("ZRANK z b WITHSCORE", "[1 \"2.5\"]"),
    ("ZREVRANK z b withscore", "[1 \"2.5\"]"),
    ("ZRANK z absent WITHSCORE", "nil"),
    ("ZRANK missing a WITHSCORE", "nil"),
    ("ZRANK z b WITHSCORES", "-ERR syntax error"),
    ("ZRANK z b WITHSCORE x", "-ERR wrong number of arguments for 'zrank' command"),
    ("ZSCAN z 0 NOSCORES", "[\"0\" [\"a\" \"b\" \"c\"]]"),
    ("ZSCAN z 0 COUNT 5 NOSCORES MATCH [bc]", "[\"0\" [\"b\" \"c\"]]"),
    ("ZADD y 7 a 9 d", "2"),
    ("ZUNION 2 z y AGGREGATE COUNT WITHSCORES", "[\"b\" \"1\" \"c\" \"1\" \"d\" \"1\" \"a\" \"2\"]"),
    ("ZINTER 2 z y WEIGHTS 3 0.5 AGGREGATE COUNT WITHSCORES", "[\"a\" \"3.5\"]"),
    ("ZUNIONSTORE d 2 z y WEIGHTS inf -inf AGGREGATE COUNT", "4"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"d\" \"-inf\" \"a\" \"0\" \"b\" \"inf\" \"c\" \"inf\"]"),
];

#[test]
fn what_is_newer_than_redis_7_0() {
    check_scripts(&[NEWER]);
}

#[test]
fn resp3_has_doubles_and_pairs() {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    let script = [
        ("ZADD z 1 a 2.5 b inf c", "3"),
        ("ZADD z INCR 1 a", ",2"),
        ("ZADD z NX INCR 1 a", "nil"),
        ("ZINCRBY z 0.5 a", ",2.5"),
        ("ZSCORE z c", ",inf"),
        ("ZSCORE z x", "nil"),
        ("ZMSCORE z a x", "[,2.5 nil]"),
        ("ZRANK z b WITHSCORE", "[1 ,2.5]"),
        ("ZRANGE z 0 1", "[\"a\" \"b\"]"),
        ("ZRANGE z 0 1 WITHSCORES", "[[\"a\" ,2.5] [\"b\" ,2.5]]"),
        ("ZRANGEBYSCORE z 2.5 2.5 WITHSCORES LIMIT 0 1", "[[\"a\" ,2.5]]"),
        ("ZUNION 1 z WITHSCORES", "[[\"a\" ,2.5] [\"b\" ,2.5] [\"c\" ,inf]]"),
        ("ZDIFF 1 z", "[\"a\" \"b\" \"c\"]"),
        ("ZRANDMEMBER z -1", "[\"a\"]"),
        ("ZSCAN z 0", "[\"0\" [\"a\" \"2.5\" \"b\" \"2.5\" \"c\" \"inf\"]]"),
        ("ZRANGESTORE d z 0 -1", "3"),
        ("ZPOPMIN d", "[\"a\" ,2.5]"),
        ("ZPOPMIN d 1", "[[\"b\" ,2.5]]"),
        ("ZPOPMIN d 0", "[]"),
        ("ZMPOP 1 d MAX", "[\"d\" [[\"c\" ,inf]]]"),
        ("ZMPOP 1 d MAX", "nil"),
        ("BZPOPMIN z 1", "[\"z\" \"a\" ,2.5]"),
        ("BZMPOP 1 1 z MIN COUNT 9", "[\"z\" [[\"b\" ,2.5] [\"c\" ,inf]]]"),
        ("ZADD one 5 a", "1"),
        ("ZRANDMEMBER one -2 WITHSCORES", "[[\"a\" ,5] [\"a\" ,5]]"),
    ];
    for (line, expected) in script {
        let reply = show(&test.run(line));
        if !line.starts_with("ZRANDMEMBER z") {
            assert_eq!(reply, expected, "the reply to: {line}");
        }
    }
}

/// Members and their size, at and beyond the thresholds.
#[test]
fn the_encoding_follows_the_thresholds() {
    let long = "m".repeat(62);
    let cases = [
        (128, "m", "listpack"),
        (129, "m", "skiplist"),
        (3, &*long, "listpack"),
        (3, &*(long.clone() + "mm"), "skiplist"),
    ];
    for (count, member, encoding) in cases {
        let mut test = TestEngine::new();
        test.collect_effects();
        for index in 0..count {
            test.run_words(&["ZADD", "z", &(count - index).to_string(), &format!("{member}{index}")]);
        }
        assert_eq!(test.run("OBJECT ENCODING z"), encoding.into(), "{count} of {member}");
        assert_eq!(test.run("ZCARD z").as_i64(), Some(count));
        for index in 0..count {
            let rank = test.run_words(&["ZRANK", "z", &format!("{member}{index}")]);
            assert_eq!(rank.as_i64(), Some(count - 1 - index));
        }
        for line in [
            "ZRANGESTORE copy z 0 -1",
            "ZUNIONSTORE copy 1 z",
            "ZINTERSTORE copy 2 z z",
            "COPY z copy REPLACE",
        ] {
            test.run(line);
            assert_eq!(test.run("OBJECT ENCODING copy"), encoding.into(), "{line}");
        }
        test.check_invariants();
        check_replay(&mut test);
    }
}

#[test]
fn thresholds_of_none_make_every_set_a_table() {
    let mut test = TestEngine::with_config(|config| config.thresholds.zset_entries = 0);
    test.run("ZADD z 1 a");
    assert_eq!(test.run("OBJECT ENCODING z"), "skiplist".into());
    assert_eq!(test.run("ZADD z 0 a").as_i64(), Some(0));
    assert_eq!(show(&test.run("ZRANGE z 0 -1 WITHSCORES")), "[\"a\" \"0\"]");
}

/// Requests that must answer the same on a packed set and on a table.
const EITHER_FORM: &[&str] = &[
    "ZRANGE z 0 -1 WITHSCORES",
    "ZRANGE z 3 7 REV WITHSCORES",
    "ZREVRANGEBYSCORE z (20 3 WITHSCORES LIMIT 1 4",
    "ZRANGEBYSCORE z -inf (9",
    "ZCOUNT z (3 17",
    "ZRANK z m7",
    "ZREVRANK z m7",
    "ZINCRBY z 4.5 m7",
    "ZINCRBY z -30 m3",
    "ZADD z GT CH 5 m1 100 m2 0.5 new",
    "ZREM z m4 m5 absent",
    "ZPOPMIN z 2",
    "ZPOPMAX z 2",
    "ZREMRANGEBYRANK z 1 2",
    "ZREMRANGEBYSCORE z 10 12",
    "ZUNION 2 z z WEIGHTS 1 2 WITHSCORES",
    "ZINTER 2 z z AGGREGATE MAX WITHSCORES",
    "ZDIFF 2 z other WITHSCORES",
    "ZRANGESTORE copy z 1 5",
    "ZRANGE copy 0 -1 WITHSCORES",
    "ZMSCORE z m0 m1 m2 m3",
    "DEBUG DIGEST-VALUE z",
];

#[test]
fn both_encodings_answer_the_same() {
    let mut packed = TestEngine::new();
    let mut table = TestEngine::with_config(|config| config.thresholds.zset_entries = 0);
    for test in [&mut packed, &mut table] {
        for index in 0..30 {
            test.run(&format!("ZADD z {} m{index}", index * 7 % 20));
        }
        test.run("ZADD other 1 m8 1 m9");
    }
    for line in EITHER_FORM {
        assert_eq!(show(&packed.run(line)), show(&table.run(line)), "{line}");
    }
    assert_eq!(packed.run("OBJECT ENCODING z"), "listpack".into());
    assert_eq!(table.run("OBJECT ENCODING z"), "skiplist".into());
}

/// A table of 5,000 members: scans return each, draws are distinct and complete, ranges are what a sorted
/// vector has.
#[test]
fn a_large_sorted_set() {
    let mut test = TestEngine::new();
    let mut rng = Rng::from_seed(11);
    let mut model: Vec<(u64, String)> =
        (0..5_000).map(|index| (rng.below(3_000), format!("member{index}"))).collect();
    for (score, member) in &model {
        test.run_words(&["ZADD", "z", &score.to_string(), member]);
    }
    model.sort();
    let names: BTreeSet<String> = model.iter().map(|item| item.1.clone()).collect();
    assert_eq!(scan_all(&mut test, "ZSCAN", "z", &["NOSCORES"]), names);
    check_draws(&mut test, "ZRANDMEMBER", "z", &names);
    for _ in 0..200 {
        let (min, max) = (rng.below(3_000), rng.below(3_000));
        let expected: Vec<String> =
            model.iter().filter(|item| (min..max).contains(&item.0)).map(|item| item.1.clone()).collect();
        let reply = test.run(&format!("ZRANGE z {min} ({max} BYSCORE"));
        assert_eq!(texts(&reply), expected, "from {min} to {max}");
        assert_eq!(test.run(&format!("ZCOUNT z {min} ({max}")).as_i64(), Some(expected.len() as i64));
    }
    assert_eq!(test.run("ZREMRANGEBYRANK z 1000 3999").as_i64(), Some(3_000));
    model.drain(1_000..4_000);
    assert_eq!(
        texts(&test.run("ZRANGE z 0 -1")),
        model.iter().map(|item| item.1.clone()).collect::<Vec<_>>()
    );
    test.check_invariants();
}

#[test]
fn a_client_cannot_ask_for_more_than_there_is_memory() {
    let mut test = TestEngine::with_config(|config| config.proto_max_bulk_len = 1 << 20);
    test.run("ZADD z 1 a");
    assert_eq!(show(&test.run("ZRANDMEMBER z -4000000000000000000")), "-ERR value is out of range");
}
