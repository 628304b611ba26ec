#!/usr/bin/env escript
%% Remote calls and maps in Erlang, against the node NAME@127.0.0.1:
%%   erlang_peer.escript call NAME COUNT  microseconds of one erpc:call, one at a time
%%   erlang_peer.escript pmap NAME COUNT  items a second of rpc:pmap over both nodes
main([Mode, Name, Count]) ->
    {ok, _} = net_kernel:start(['bench_driver@127.0.0.1', longnames]),
    erlang:set_cookie(node(), moonfleet_bench),
    Node = list_to_atom(Name ++ "@127.0.0.1"),
    true = connected(Node, 50),
    io:format("~.2f~n", [run(Mode, Node, list_to_integer(Count))]).

connected(_, 0) -> false;
connected(Node, Tries) ->
    net_kernel:connect_node(Node) orelse
        begin timer:sleep(100), connected(Node, Tries - 1) end.

run("call", Node, Count) ->
    calls(Node, 1000),
    {Time, ok} = timer:tc(fun() -> calls(Node, Count) end),
    Time / Count;
run("pmap", _, Count) ->
    List = lists:seq(1, Count),
    {Time, List} = timer:tc(fun() -> rpc:pmap({erlang, '+'}, [0], List) end),
    Count / (Time / 1.0e6).

calls(_, 0) -> ok;
calls(Node, Count) -> 0 = erpc:call(Node, erlang, abs, [0]), calls(Node, Count - 1).
