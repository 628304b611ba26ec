/* SPDX-License-Identifier: MIT */
/* host.channel: channels to nodes, and sessions over them (wire/protocol.h has
 * the messages, net/channel.h and net/resumable.h the rest), for the driver.
 *
 *   dial{url=, tls=, timeout=}
 *   dial{input=, output=, name=, timeout=}
 *                               a channel (waits for the node's preface), or
 *                               nil, err with the kinds of net/dialer.h. input
 *                               and output are descriptors, perhaps the same
 *                               one, which are taken over. timeout: seconds,
 *                               default: 5
 *   channel:call(bytes [, seconds])  sends a request and returns the reply
 *                               (waits), or nil, err of kind "timeout", "lost",
 *                               "too_large" or "memory"; default: no time
 *                               limit. Many tasks may call at once; each gets
 *                               its own reply.
 *   channel:peer()              the name of the other end
 *   channel:up()                whether it has not ended
 *   channel:close()             pending calls fail with kind "lost"
 *
 *   session{self=, on_event=, on_arrived=, on_room=, on_end=}
 *                               a session that is at no node yet. It calls
 *                               these functions from the loop; they must not
 *                               wait:
 *       on_event(self, a1, ..., a5)  for each event in a message that arrives,
 *                               with its first five elements; missing: nil
 *       on_arrived(self)        after the last event of a message
 *       on_room(self)           limits or acknowledgements have changed
 *       on_end(self, err)       its channel has ended, or a message was
 *                               malformed or a function raised (then its
 *                               channel is closed)
 *   session:open(channel, key, seconds)  opens the session at the node, or
 *                               goes on with it, over this channel from now on:
 *                               true (waits), or nil, err, and true if the node
 *                               itself answered with that error
 *   session:add(name, ...)      appends an element, an array of the arguments,
 *                               to the message being built: ("blob", key,
 *                               bytes), ("drop", key), ("close", job),
 *                               ("answer", worker, generation, number, bytes).
 *                               Returns true, or nil, err.
 *   session:batch(worker, generation, keys, job, first, attempt, timeout,
 *           items [, from, to])
 *                               appends a batch and returns the number of its
 *                               tasks. keys: the list, encoded. items: one
 *                               item, encoded; or a list, of which the values
 *                               `from` to `to` are encoded, as many as the
 *                               message has room for, at least one. Returns 0
 *                               and an error when the first cannot be encoded.
 *   session:retract()           takes the last batch back, if nothing was
 *                               appended or flushed since
 *   session:flush()             sends what was appended as soon as channel and
 *                               limits allow
 *   session:room()              tasks that may be added now; 0 when no message
 *                               should be built now
 *   session:number()            of the message being built
 *   session:acked(), session:received()  numbers of the last message that the
 *                               node has acknowledged, and that has arrived
 *   session:hold(on)            while on, the node is granted no further bytes
 *   session:close()             leaves the channel, and frees what it holds;
 *                               none of its functions is called any more */
