# Stands behind a suite's own words on how it starts and ends servers: before a server is ended, what its consumers of
# memory hold has to add up to what the allocator has counted, within one per cent and 64 KB. Servers that have ended, do
# not answer or do not let one ask are left alone.

rename kill_server end_server

proc kill_server config {
    if {!$::external && [is_up_to_tell $config]} {
        set wrong [memory_at_odds [dict get $config host] [dict get $config port]]
        if {$wrong ne {}} {
            send_data_packet $::test_server_fd err "Memory does not add up at the end of a server: $wrong"
        }
    }
    end_server $config
}

proc is_up_to_tell config {
    expr {[dict exists $config host] && [dict exists $config port] && ![catch {exec kill -0 [dict get $config pid]}]}
}

# The figures, if they do not add up. What is handed over from thread to thread may be on its way: asks again for a while.
proc memory_at_odds {host port} {
    set reply {}
    for {set attempt 0} {$attempt < 100} {incr attempt} {
        if {[catch {ask_memory $host $port} reply] || [memory_adds_up $reply]} { return {} }
        after 50
    }
    string map {\r {} \n { }} $reply
}

# What is answered within two seconds.
proc ask_memory {host port} {
    set connection [socket $host $port]
    fconfigure $connection -translation binary -blocking 0 -buffering none
    puts -nonewline $connection "*2\r\n\$5\r\nDEBUG\r\n\$6\r\nMEMORY\r\n"
    set reply {}
    set end [expr {[clock milliseconds] + 2000}]
    while {![regexp {allocated\r\n:\d+\r\n|^-} $reply] && ![eof $connection] && [clock milliseconds] < $end} {
        append reply [read $connection]
        after 1
    }
    close $connection
    return $reply
}

# Large values that replies refer to may be the data's still, or nobody else's. A refusal adds up.
proc memory_adds_up reply {
    foreach name {sum clients.shared allocated} {
        if {![regexp "\n$name\r\n:(\\d+)\r\n" $reply -> bytes($name)]} { return 1 }
    }
    set most [expr {$bytes(allocated) / 100 + 65536}]
    set rest [expr {$bytes(allocated) - $bytes(sum)}]
    expr {-$most <= $rest && $rest <= $bytes(clients.shared) + $most}
}
