---@meta host.channel
-- SPDX-License-Identifier: MIT
-- Channels to nodes, and sessions over them, for the driver (host/bindings/lib_channel.c,
-- lib_session.c).

local channel = {}

--- @class host.Channel
local Channel = {}

--- @class host.Session
local Session = {}

--- Connects to a node: to an address, or over descriptors, which are taken over. Waits.
---@param options table {url=, tls=, insecure=} or {input=, output=, name=}, and timeout= (seconds;
---default: 5). tls: an identity of host.tls, for addresses of tcp; insecure: other machines need
---none
---@return host.Channel|nil
---@return fleet.Error|nil of kind "connect", "timeout", "skew", "lost" or "tls"; "usage" when the
---address may be reached with tls alone
function channel.dial(options) end

--- Whether an address may be used: over TCP only this machine is reached without keys, unless that
--- is wanted. A name other than localhost counts as one of another machine.
---@param url string
---@param has_keys boolean
---@param insecure boolean|nil
---@return true|nil
---@return fleet.Error|nil of kind "usage"
function channel.check(url, has_keys, insecure) end

--- Makes a session that is at no node yet. It calls these functions from the loop, with `self`;
--- they must not wait.
---@param handlers table {self=, on_event=, on_arrived=, on_room=, on_end=}
---@return host.Session
function channel.session(handlers) end

--- Sends a request and waits for its reply. Many tasks may do so at once.
---@param bytes string
---@param seconds number|nil time limit; default: none
---@return string|nil reply
---@return fleet.Error|nil
function Channel:call(bytes, seconds) end

--- The name of the other end.
---@return string
function Channel:peer() end

--- When the certificate of the other end expires.
---@return integer|nil seconds since 1970; nil without TLS
function Channel:expires() end

--- Verifies the certificate of the other end by the keys that the identity has now.
---@param identity host.Identity
---@return boolean|nil true, also without TLS; or nil and an error
---@return fleet.Error|nil of kind "tls"
function Channel:verify(identity) end

--- Whether it has not ended.
---@return boolean
function Channel:up() end

--- Closes it. Pending calls fail with kind "lost".
function Channel:close() end

--- Opens the session at the node, or goes on with it, over this channel from now on. Waits.
---@param over host.Channel
---@param key string of 16 bytes
---@param seconds number|nil time limit; default: none
---@param release string|nil of the driver
---@return boolean|nil
---@return fleet.Error|nil
---@return boolean|nil by_node whether the node answered with the error
function Session:open(over, key, seconds, release) end

--- Appends an element to the message that is being built.
---@param name string
---@param ... any
---@return boolean|nil
---@return fleet.Error|nil
function Session:add(name, ...) end

--- Appends a batch of tasks.
---@param worker integer
---@param generation integer
---@param keys string the list of blobs, encoded
---@param job integer
---@param first integer
---@param attempt integer
---@param timeout number
---@param items any[]|string a list, or one item, encoded
---@param from integer|nil
---@param to integer|nil
---@return integer n tasks that had room
---@return integer|fleet.Error|nil number of the message; or why the first cannot be encoded
function Session:batch(worker, generation, keys, job, first, attempt, timeout, items, from, to) end

--- Takes the last batch back, if nothing was appended since and no other task has run.
function Session:retract() end

--- Has what was appended sent once the tasks have run, as soon as channel and limits allow.
function Session:flush() end

--- Returns how many tasks may be added now.
---@return integer
function Session:room() end

--- The number of the message with the last element.
---@return integer
function Session:number() end

--- The number of the last message that the node has acknowledged.
---@return integer
function Session:acked() end

--- While `on`, the node is granted no further bytes.
---@param on boolean
function Session:hold(on) end

--- Leaves the channel and frees what it holds.
function Session:close() end

return channel
