-- SPDX-License-Identifier: MIT
-- An Erlang node to talk to, with an epmd of its own that ends with the bench. Returns a
-- function that runs a mode of erlang_peer.escript; nil without Erlang.

return function(bench)
  if not bench:has("erl", "escript") then return nil end
  if not bench.epmd then
    bench.epmd = bench:port()
    bench:spawn("env ERL_EPMD_PORT=$1 erl -noinput -name bench_peer@127.0.0.1 "
      .. "-setcookie moonfleet_bench", bench.epmd)
    bench:wait_port(bench.epmd)
  end
  return function(mode, count)
    return tonumber(bench:shell("ERL_EPMD_PORT=$1 escript $2/erlang_peer.escript $3 bench_peer $4",
      bench.epmd, bench.here, mode, count))
  end
end
