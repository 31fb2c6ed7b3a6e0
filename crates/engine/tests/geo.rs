//! Points in sorted sets, request by request; what Redis 7.0 knows is compared with it.

mod common;

use common::check_as_redis;
use engine::testing::checks::{Script, check_scripts};
use engine::testing::{TestEngine, show};
use resp::reply::Protocol;

const POINTS: Script = &[
    ("GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "2"),
    ("GEOADD s 13.361389 38.115556 Palermo", "0"),
    ("GEOADD s CH 13.5 38 Palermo 15.087269 37.502669 Catania 2 3 c", "2"),
    ("GEOADD s NX 1 1 Palermo 1 1 d", "1"),
    ("GEOADD s XX CH 1 1 e 1 2 d", "1"),
    ("geoadd s xx nx 1 1 e", "-ERR syntax error"),
    ("GEOADD s 1 2", "-ERR wrong number of arguments for 'geoadd' command"),
    ("GEOADD s nx ch xx", "-ERR syntax error"),
    ("GEOADD s nx ch ch", "-ERR syntax error"),
    ("GEOADD s 1 2 a 3", "-ERR syntax error"),
    ("GEOADD s 181 1 a", "-ERR invalid longitude,latitude pair 181.000000,1.000000"),
    ("GEOADD s 1 1 a 1 86 b", "-ERR invalid longitude,latitude pair 1.000000,86.000000"),
    ("GEOADD s inf 86 b", "-ERR invalid longitude,latitude pair inf,86.000000"),
    ("GEOADD s x 86 b", "-ERR value is not a valid float"),
    ("GEOADD s nan 86 b", "-ERR value is not a valid float"),
    ("GEOADD s 180 85.05112878 edge -180 -85.05112878 corner 0 0 zero", "3"),
    ("GEOADD new XX 1 1 a", "0"),
    ("EXISTS new", "0"),
    (
        "ZRANGE s 0 -1 WITHSCORES",
        "[\"corner\" \"0\" \"zero\" \"3377699720527872\" \"d\" \"3378080408407459\" \"c\" \
         \"3378964761752270\" \"Palermo\" \"3479097324432493\" \"Catania\" \"3479447370796909\" \"edge\" \
         \"13510798882111488\"]",
    ),
    ("TYPE s", "+zset"),
    ("OBJECT ENCODING s", "\"listpack\""),
    (
        "GEOPOS s Palermo Catania edge corner zero absent",
        "[[\"13.50000053644180298\" \"38.0000009925631943\"] [\"15.08726745843887329\" \
         \"37.50266842333162032\"] [\"180\" \"85.0511287799999991\"] [\"-179.99999731779098511\" \
         \"-85.05112751263942528\"] [\"0.00000268220901489\" \"0.00000126736058093\"] nil]",
    ),
    ("GEOPOS s", "[]"),
    ("GEOPOS missing a", "[nil]"),
    (
        "GEOHASH s Palermo Catania edge corner zero absent",
        "[\"sqc85jwqhc0\" \"sqdtr74hyu0\" \"bp05b5048p0\" \"00bh0hbj200\" \"s0000000000\" nil]",
    ),
    ("GEOHASH missing a b", "[nil nil]"),
    ("GEODIST s Palermo Catania", "\"150148.5551\""),
    ("GEODIST s Palermo Catania m", "\"150148.5551\""),
    ("GEODIST s Palermo Catania KM", "\"150.1486\""),
    ("GEODIST s Palermo Catania ft", "\"492613.3699\""),
    ("GEODIST s Palermo Catania Mi", "\"93.2982\""),
    ("GEODIST s Palermo Palermo", "\"0.0000\""),
    ("GEODIST s edge corner", "\"18919844.5891\""),
    ("GEODIST s zero c km", "\"400.9757\""),
    ("GEODIST s Palermo absent", "nil"),
    ("GEODIST missing Palermo Catania", "nil"),
    ("GEODIST s Palermo Catania x", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
    ("GEODIST s Palermo Catania m m", "-ERR syntax error"),
    ("ZADD scores -1 a 0 b 1.5 c 4503599627370496 d 9007199254740992 e 1e300 f inf g -inf h", "8"),
    (
        "GEOPOS scores a b c d e f",
        "[[\"180\" \"85.0511287799999991\"] [\"-179.99999731779098511\" \"-85.05112751263942528\"] \
         [\"-179.99999731779098511\" \"-85.05112497791824921\"] [\"-179.99999731779098511\" \
         \"85.0511287799999991\"] [\"180\" \"-85.05112751263942528\"] [\"-179.99999731779098511\" \
         \"-85.05112751263942528\"]]",
    ),
    ("GEOHASH scores a b c d", "[\"bp05b5048p0\" \"00bh0hbj200\" \"00bh0hbj210\" \"bp05b5048p0\"]"),
    ("GEODIST scores b c", "\"0.2819\""),
    ("GEODIST scores b d km", "\"18919.8446\""),
    ("SET t 1", "+OK"),
    ("GEOADD t 1 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("GEOPOS t a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("GEOHASH t a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ("GEODIST t a b", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    (
        "GEOSEARCH t FROMLONLAT 1 1 BYRADIUS 1 m FOO",
        "-WRONGTYPE Operation against a key holding the wrong kind of value",
    ),
];

const RADIUS: Script = &[
    (
        "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge \
         17.24151 38.788135 far 13.361389 38.115557 near",
        "5",
    ),
    ("GEORADIUS s 15 37 200 km", "[\"Palermo\" \"near\" \"Catania\"]"),
    ("GEORADIUS s 15 37 200 km ASC", "[\"Catania\" \"Palermo\" \"near\"]"),
    ("GEORADIUS s 15 37 200 km DESC", "[\"Palermo\" \"near\" \"Catania\"]"),
    ("GEORADIUS s 15 37 0 km", "[]"),
    ("GEORADIUS s 13.361389338970184 38.11555639549629859 0 m", "[\"Palermo\" \"near\"]"),
    (
        "GEORADIUS s 15 37 500 km WITHDIST WITHCOORD WITHHASH COUNT 2",
        "[[\"Catania\" \"56.4413\" 3479447370796909 [\"15.08726745843887329\" \"37.50266842333162032\"]] \
         [\"Palermo\" \"190.4424\" 3479099956230698 [\"13.36138933897018433\" \"38.11555639549629859\"]]]",
    ),
    (
        "GEORADIUS s 15 37 500 km WITHDIST WITHHASH DESC COUNT 3",
        "[[\"edge\" \"279.7405\" 3479273021651468] [\"far\" \"279.7403\" 3481342659049484] [\"Palermo\" \
         \"190.4424\" 3479099956230698]]",
    ),
    ("GEORADIUS s 15 37 500 km COUNT 1 ANY", "[\"Palermo\"]"),
    (
        "GEORADIUS s 15 37 200 mi withdist asc",
        "[[\"Catania\" \"35.0711\"] [\"Palermo\" \"118.3357\"] [\"near\" \"118.3357\"] [\"far\" \
         \"173.8230\"] [\"edge\" \"173.8231\"]]",
    ),
    (
        "GEORADIUS s 15 37 656167 ft withcoord",
        "[[\"Palermo\" [\"13.36138933897018433\" \"38.11555639549629859\"]] [\"near\" \
         [\"13.36138933897018433\" \"38.11555639549629859\"]] [\"Catania\" [\"15.08726745843887329\" \
         \"37.50266842333162032\"]]]",
    ),
    ("GEORADIUS s 15 37 30000 km", "[\"Palermo\" \"near\" \"edge\" \"Catania\" \"far\"]"),
    ("GEORADIUS s 15 37 inf km", "[\"Palermo\" \"near\" \"edge\" \"Catania\" \"far\"]"),
    ("GEORADIUS_RO s 15 37 200 km ASC", "[\"Catania\" \"Palermo\" \"near\"]"),
    ("GEORADIUS_RO s 15 37 200 km STORE d", "-ERR syntax error"),
    (
        "GEORADIUSBYMEMBER s Palermo 200 km ASC WITHDIST",
        "[[\"Palermo\" \"0.0000\"] [\"near\" \"0.0000\"] [\"edge\" \"91.4007\"] [\"Catania\" \
         \"166.2742\"]]",
    ),
    (
        "GEORADIUSBYMEMBER_RO s Palermo 100 km DESC WITHDIST",
        "[[\"edge\" \"91.4007\"] [\"Palermo\" \"0.0000\"] [\"near\" \"0.0000\"]]",
    ),
    ("GEORADIUSBYMEMBER_RO s Palermo 100 km STOREDIST d", "-ERR syntax error"),
    ("GEORADIUSBYMEMBER missing Palermo 200 km", "[]"),
    ("GEORADIUSBYMEMBER missing Palermo x y", "[]"),
    ("GEORADIUSBYMEMBER missing Palermo x y z", "-ERR syntax error"),
    ("GEORADIUSBYMEMBER missing Palermo 200 km STORE d", "0"),
    ("GEORADIUS missing 15 37 200 km", "[]"),
    ("GEORADIUS missing 15 37 200 x", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
    ("GEORADIUS missing 15 37 200 km WITHCOORD", "[]"),
    ("GEORADIUS s 15 37 x km", "-ERR need numeric radius"),
    ("GEORADIUS s 15 37 -1 km", "-ERR radius cannot be negative"),
    ("GEORADIUS s 15 37 1 x", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
    ("GEORADIUS s 200 37 1 km", "-ERR invalid longitude,latitude pair 200.000000,37.000000"),
    ("GEORADIUS s x 37 1 km", "-ERR value is not a valid float"),
    ("GEORADIUS s 15 37 1 km FOO", "-ERR syntax error"),
    ("GEORADIUS s 15 37 1 km COUNT", "-ERR syntax error"),
    ("GEORADIUS s 15 37 1 km COUNT 0", "-ERR COUNT must be > 0"),
    ("GEORADIUS s 15 37 1 km COUNT -1", "-ERR COUNT must be > 0"),
    ("GEORADIUS s 15 37 1 km COUNT x", "-ERR value is not an integer or out of range"),
    ("GEORADIUS s 15 37 1 km ANY", "-ERR the ANY argument requires COUNT argument"),
    ("GEORADIUS s 15 37 1 km STORE", "-ERR syntax error"),
    (
        "GEORADIUS s 15 37 1 km STORE d WITHDIST",
        "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
    ),
    (
        "GEORADIUS s 15 37 1 km STOREDIST d WITHHASH",
        "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
    ),
    ("GEORADIUS s 15 37 500 km STORE d", "5"),
    (
        "ZRANGE d 0 -1 WITHSCORES",
        "[\"Palermo\" \"3479099956230698\" \"near\" \"3479099956230698\" \"edge\" \"3479273021651468\" \
         \"Catania\" \"3479447370796909\" \"far\" \"3481342659049484\"]",
    ),
    ("GEORADIUS s 15 37 500 km STOREDIST d COUNT 2", "2"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"Catania\" \"56.4412578701582\" \"Palermo\" \"190.44242984775784\"]"),
    ("GEORADIUS s 15 37 500 km STORE d STOREDIST e", "5"),
    ("ZCARD d", "2"),
    (
        "ZRANGE e 0 -1 WITHSCORES",
        "[\"Catania\" \"56.4412578701582\" \"Palermo\" \"190.44242984775784\" \"near\" \
         \"190.44242984775784\" \"far\" \"279.7403417843143\" \"edge\" \"279.7404521356343\"]",
    ),
    ("GEORADIUSBYMEMBER s Palermo 500 mi STOREDIST e STORE d", "5"),
    (
        "ZRANGE d 0 -1 WITHSCORES",
        "[\"Palermo\" \"3479099956230698\" \"near\" \"3479099956230698\" \"edge\" \"3479273021651468\" \
         \"Catania\" \"3479447370796909\" \"far\" \"3481342659049484\"]",
    ),
    ("GEORADIUSBYMEMBER s Palermo 10 m STORE s", "2"),
    ("ZRANGE s 0 -1", "[\"Palermo\" \"near\"]"),
    ("GEORADIUS s 15 37 1 m STORE d", "0"),
    ("EXISTS d", "0"),
    ("GEORADIUS missing 15 37 200 km STORE s", "0"),
    ("EXISTS s", "0"),
];

const SEARCH: Script = &[
    ("GEOADD s -74 40.7 a -73.9 40.6 b -73.99 40.71 c 179.9 10 e -179.9 10 w 0 85 n 0 -85 s", "7"),
    ("GEOSEARCH s FROMLONLAT -74 40.7 BYRADIUS 20 km", "[\"b\" \"a\" \"c\"]"),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS 20 km ASC", "[\"a\" \"c\" \"b\"]"),
    ("GEOSEARCH s FROMMEMBER a BYBOX 20 20 km ASC WITHDIST", "[[\"a\" \"0.0000\"] [\"c\" \"1.3957\"]]"),
    (
        "GEOSEARCH s FROMMEMBER a BYBOX 5 20 km ASC WITHCOORD",
        "[[\"a\" [\"-73.99999827146530151\" \"40.70000117981800258\"]] [\"c\" [\"-73.98999899625778198\" \
         \"40.71000065479159247\"]]]",
    ),
    (
        "GEOSEARCH s BYBOX 5 20 km DESC FROMMEMBER a WITHHASH",
        "[[\"c\" 1791875414231108] [\"a\" 1791875389122177]]",
    ),
    ("GEOSEARCH s FROMMEMBER e BYRADIUS 100 km ASC WITHDIST", "[[\"e\" \"0.0000\"] [\"w\" \"21.9075\"]]"),
    ("GEOSEARCH s FROMMEMBER w BYBOX 100 10 km ASC", "[\"w\" \"e\"]"),
    ("GEOSEARCH s FROMMEMBER n BYRADIUS 5000 km", "[\"n\"]"),
    ("GEOSEARCH s FROMMEMBER n BYBOX 9000 9000 km ASC", "[\"n\"]"),
    ("GEOSEARCH s FROMLONLAT 0 0 BYRADIUS 20000 km ASC", "[\"b\" \"c\" \"a\" \"n\" \"s\" \"e\" \"w\"]"),
    ("GEOSEARCH s FROMLONLAT 0.1 0.1 BYBOX 40000 40000 km DESC COUNT 3", "[\"w\" \"e\" \"s\"]"),
    ("GEOSEARCH s FROMLONLAT 0 0 BYBOX 0 0 km", "[]"),
    ("GEOSEARCH s FROMLONLAT 0 0 BYRADIUS 20000 km COUNT 2 ANY", "[\"n\" \"e\"]"),
    ("GEOSEARCH s FROMLONLAT 0 0 BYRADIUS 20000 km COUNT 2 ANY ASC", "[\"n\" \"e\"]"),
    ("GEOSEARCH s FROMLONLAT 0 0 BYRADIUS 20000 km ANY", "-ERR the ANY argument requires COUNT argument"),
    ("GEOSEARCH s FROMLONLAT 0 0 FROMMEMBER a BYRADIUS 1 m", "-ERR syntax error"),
    ("GEOSEARCH s FROMMEMBER a FROMMEMBER b BYRADIUS 1 m", "[\"b\"]"),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS 1 m BYBOX 1 1 m", "-ERR syntax error"),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS 1 m BYRADIUS 20 km ASC", "[\"a\" \"c\" \"b\"]"),
    (
        "GEOSEARCH s FROMMEMBER a ASC DESC WITHDIST",
        "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH",
    ),
    (
        "GEOSEARCH s BYRADIUS 1 m ASC DESC",
        "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH",
    ),
    (
        "geosearch missing FROMMEMBER a WITHDIST ASC DESC",
        "-ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch",
    ),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS 1", "-ERR wrong number of arguments for 'geosearch' command"),
    ("GEOSEARCH s FROMMEMBER a BYBOX 1 1 ASC", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
    ("GEOSEARCH s FROMMEMBER a BYBOX 1 x m", "-ERR need numeric height"),
    ("GEOSEARCH s FROMMEMBER a BYBOX x 1 m", "-ERR need numeric width"),
    ("GEOSEARCH s FROMMEMBER a BYBOX 1 -1 m", "-ERR height or width cannot be negative"),
    ("GEOSEARCH s FROMMEMBER a BYBOX 1 1 x", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS -1 m", "-ERR radius cannot be negative"),
    ("GEOSEARCH s FROMLONLAT 1 100 BYRADIUS 1 m", "-ERR invalid longitude,latitude pair 1.000000,100.000000"),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS 1 m STOREDIST", "-ERR syntax error"),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS 1 m STORE d", "-ERR syntax error"),
    ("GEOSEARCH missing FROMMEMBER a BYRADIUS 1 m", "[]"),
    ("GEOSEARCH missing FROMMEMBER a BYRADIUS 1 m ANY", "-ERR the ANY argument requires COUNT argument"),
    ("GEOSEARCHSTORE d s FROMMEMBER a BYRADIUS 20 km", "3"),
    (
        "ZRANGE d 0 -1 WITHSCORES",
        "[\"b\" \"1791871979014290\" \"a\" \"1791875389122177\" \"c\" \"1791875414231108\"]",
    ),
    ("GEOSEARCHSTORE d s FROMMEMBER a BYRADIUS 20 km STOREDIST DESC COUNT 2", "2"),
    ("ZRANGE d 0 -1 WITHSCORES", "[\"c\" \"1.395654324973141\" \"b\" \"13.96169331814892\"]"),
    (
        "GEOSEARCHSTORE d s FROMMEMBER a BYRADIUS 20 km WITHDIST",
        "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
    ),
    (
        "GEOSEARCHSTORE d s FROMMEMBER a ASC DESC COUNT 1",
        "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCHSTORE",
    ),
    ("GEOSEARCHSTORE s s FROMMEMBER a BYBOX 5 5 km", "2"),
    ("ZCARD s", "2"),
    ("GEOSEARCHSTORE d s FROMLONLAT 50 50 BYBOX 5 5 km", "0"),
    ("EXISTS d", "0"),
    ("GEOSEARCHSTORE s missing FROMMEMBER a BYBOX 5 5 km", "0"),
    ("EXISTS s", "0"),
    ("COMMAND GETKEYS GEORADIUS s 15 37 500 km STORE d", "[\"s\" \"d\"]"),
    ("COMMAND GETKEYS GEORADIUSBYMEMBER s store 500 km STOREDIST e", "[\"s\" \"e\"]"),
    ("COMMAND GETKEYS GEOSEARCHSTORE d s FROMMEMBER a BYRADIUS 1 m", "[\"d\" \"s\"]"),
];

#[test]
fn replies_are_those_of_redis() {
    check_as_redis(&[POINTS, RADIUS, SEARCH]);
}

/// What Redis 7.0 does not know, or says otherwise.
const NEWER: Script = &[
    (
        "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge \
         17.24151 38.788135 far",
        "4",
    ),
    ("GEOSEARCH s BYPOLYGON 4 12 37 16 37 16 38.5 12 38.5 ASC", "[\"Palermo\" \"Catania\"]"),
    (
        "GEOSEARCH s BYPOLYGON 3 12 37 16 37 12 40 WITHDIST",
        "[[\"Palermo\" \"11211.7634\"] [\"edge\" \"100325.9365\"] [\"Catania\" \"162925.1805\"]]",
    ),
    (
        "GEOSEARCH s BYPOLYGON 3 12 37 16 37 12 40 COUNT 1 DESC WITHCOORD",
        "[[\"Catania\" [\"15.08726745843887329\" \"37.50266842333162032\"]]]",
    ),
    ("GEOSEARCH s BYPOLYGON 4 12 37 18 37 18 40 12 40 COUNT 3 ASC", "[\"Catania\" \"Palermo\" \"far\"]"),
    ("GEOSEARCH s BYPOLYGON 2 12 37 16 37", "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"),
    ("GEOSEARCH s BYPOLYGON 4 12 37 16 37 12 40", "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"),
    ("GEOSEARCH s BYPOLYGON x 12 37 16 37 12 40", "-ERR invalid number of vertices"),
    ("GEOSEARCH s BYPOLYGON -3 12 37 16 37 12 40", "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"),
    ("GEOSEARCH s BYPOLYGON 3 12 97 16 37 12 40", "-ERR invalid longitude,latitude pair 12.000000,97.000000"),
    ("GEOSEARCH s BYPOLYGON 3 12 37 16 37 12 40 BYRADIUS 1 m", "-ERR syntax error"),
    ("GEOSEARCH s BYPOLYGON 3 12 37 16 37 12 40 FROMMEMBER Palermo", "-ERR syntax error"),
    ("GEOSEARCH s FROMLONLAT 1 1 BYPOLYGON 3 12 37 16 37 12 40", "-ERR syntax error"),
    ("GEOSEARCH missing BYPOLYGON 3 12 37 16 37 12 40", "[]"),
    ("GEOSEARCHSTORE d s BYPOLYGON 3 12 37 16 37 12 40 STOREDIST", "3"),
    (
        "ZRANGE d 0 -1 WITHSCORES",
        "[\"Palermo\" \"1.1211763401615977e+4\" \"edge\" \"1.0032593646536978e+5\" \"Catania\" \
         \"1.6292518045757315e+5\"]",
    ),
    ("GEOSEARCH s FROMMEMBER absent BYRADIUS 1 m", "-ERR member absent does not exist"),
    ("COMMAND GETKEYS GEORADIUS s 15 37 500 km STORE d STOREDIST e", "[\"s\" \"e\"]"),
    ("GEORADIUSBYMEMBER s absent 1 m", "-ERR member absent does not exist"),
];

#[test]
fn what_is_newer_than_redis_7_0() {
    check_scripts(&[NEWER]);
}

/// Several places to store at: the last counts, and its shard is held whatever the others are.
#[test]
fn the_last_place_to_store_at_counts() {
    let check = |places: &str, expected: &str| {
        let mut test = TestEngine::new();
        test.run("GEOADD s 1 1 a");
        assert_eq!(show(&test.run(&format!("GEORADIUS s 1 1 1 km {places}"))), "1", "{places}");
        assert_eq!(show(&test.run(&format!("GEORADIUSBYMEMBER s a 1 km {places}"))), "1", "{places}");
        assert_eq!(show(&test.run("DBSIZE")), "2", "{places}");
        assert_eq!(show(&test.run(&format!("EXISTS {expected}"))), "1", "{places}");
    };
    check("STORE d STORE e STORE f", "f");
    check("STOREDIST d STOREDIST e", "e");
    check("STOREDIST d STORE e", "e");
    check("STORE store STOREDIST STORE STOREDIST storedist", "storedist");
    check("STORE STORE", "STORE");
}

#[test]
fn resp3_has_doubles() {
    let mut test = TestEngine::new();
    test.set_protocol(0, Protocol::Resp3);
    let script = [
        ("GEOADD s 0 0 a 1 0 b", "2"),
        ("GEOPOS s a x", "[[,0.00000268220901489 ,0.00000126736058093] nil]"),
        ("GEODIST s a b km", "\"111.2260\""),
        ("GEODIST s a x", "nil"),
        ("GEOHASH s a x", "[\"s0000000000\" nil]"),
        ("GEOSEARCH s FROMMEMBER a BYRADIUS 1 m WITHDIST", "[[\"a\" \"0.0000\"]]"),
        (
            "GEORADIUS s 0 0 1 m WITHHASH WITHCOORD",
            "[[\"a\" 3377699720527872 [,0.00000268220901489 ,0.00000126736058093]]]",
        ),
    ];
    for (line, expected) in script {
        assert_eq!(show(&test.run(line)), expected, "the reply to: {line}");
    }
}

/// A request, its events and its effects.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    ("GEOADD new 1 1 a", &["new new", "zadd new"], &["GEOADD new 1 1 a"]),
    ("GEOADD s 1 1 a", &[], &[]),
    ("GEOADD s 1 2 a", &["zadd s"], &["GEOADD s 1 2 a"]),
    ("GEOSEARCH s FROMMEMBER a BYRADIUS 1 m", &[], &[]),
    ("GEORADIUS s 1 1 1 km", &[], &[]),
    ("GEORADIUS s 1 1 1 km STORE d", &["new d", "georadiusstore d"], &["GEORADIUS s 1 1 1 km STORE d"]),
    ("GEORADIUS s 5 1 1 km STORE s", &["del s"], &["GEORADIUS s 5 1 1 km STORE s"]),
    (
        "GEORADIUSBYMEMBER s a 1 km STOREDIST s",
        &["georadiusstore s"],
        &["GEORADIUSBYMEMBER s a 1 km STOREDIST s"],
    ),
    (
        "GEOSEARCHSTORE s s FROMMEMBER b BYBOX 1 1 km",
        &["geosearchstore s"],
        &["GEOSEARCHSTORE s s FROMMEMBER b BYBOX 1 1 km"],
    ),
    (
        "GEOSEARCHSTORE s none FROMMEMBER b BYBOX 1 1 km",
        &["keymiss none", "del s"],
        &["GEOSEARCHSTORE s none FROMMEMBER b BYBOX 1 1 km"],
    ),
    ("GEOSEARCHSTORE d s FROMLONLAT 9 9 BYBOX 1 1 km", &[], &[]),
];

#[test]
fn events_and_effects() {
    for (line, events, effects) in CASES {
        let mut test = TestEngine::new();
        test.run("GEOADD s 1 1 a 2 2 b");
        test.collect_events("mn");
        test.collect_effects();
        let reply = test.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        assert_eq!(test.take_events(), *events, "{line}");
        assert_eq!(test.take_effect_lines(), *effects, "{line}");
    }
}

/// Both forms of a set find the same points.
#[test]
fn both_encodings_answer_the_same() {
    let mut packed = TestEngine::new();
    let mut table = TestEngine::with_config(|config| config.thresholds.zset_entries = 0);
    for test in [&mut packed, &mut table] {
        for index in 0..100 {
            test.run(&format!("GEOADD s {} {} p{index}", index * 37 % 360 - 180, index * 53 % 170 - 85));
        }
    }
    for line in [
        "GEOSEARCH s FROMLONLAT 10 10 BYRADIUS 3000 km ASC WITHDIST WITHHASH WITHCOORD",
        "GEOSEARCH s FROMMEMBER p7 BYBOX 8000 3000 km DESC COUNT 5",
        "GEOSEARCH s FROMLONLAT 0 0 BYRADIUS 9000 km COUNT 10 ANY",
        "GEOSEARCH s BYPOLYGON 3 -100 -50 100 -50 0 80",
        "GEORADIUSBYMEMBER s p50 5000 mi",
        "GEOPOS s p0 p99",
    ] {
        assert_eq!(show(&packed.run(line)), show(&table.run(line)), "{line}");
    }
}
