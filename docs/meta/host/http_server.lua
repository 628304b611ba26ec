---@meta host.http_server
-- SPDX-License-Identifier: MIT
-- A server of HTTP/1.1, for states that run the program's own code
-- (host/bindings/lib_http_server.c). A request is read, then answered by respond, or by begin,
-- write and finish; it is closed in the end.

local http_server = {}

--- @class host.HttpServer
local Server = {}

--- @class host.HttpRequest
local Request = {}

--- @class host.HttpHead
--- @field method string
--- @field target string
--- @field version "1.0"|"1.1"
--- @field peer string "127.0.0.1:40312"
--- @field length integer bytes of the body
--- @field headers table<string, string> names in lower case; values of one name are joined

--- Listens.
---@param options {host: string, port: integer|nil, max_connections: integer|nil} host is an IP
---address; port 0 (the default) a free one; default of max_connections: 256
---@return host.HttpServer|nil
---@return fleet.Error|nil of kind "usage"
function http_server.listen(options) end

--- The port, 0 once it is closed.
---@return integer
function Server:port() end

--- The number of connections.
---@return integer
function Server:connections() end

--- Waits for a request.
---@return host.HttpRequest|nil nil once the server has shut down
function Server:accept() end

--- Stops listening; requests that have come are still answered.
function Server:shut_down() end

--- Ends everything.
function Server:close() end

--- What came before the body.
---@return host.HttpHead
function Request:head() end

--- Waits for the next bytes of the body.
---@return string|nil bytes nil at the end
---@return fleet.Error|nil of kind "closed" when the client has gone
function Request:read() end

--- Sends the whole response, and waits until the client's system has taken it.
---@param status integer
---@param headers string[] alternating names and values
---@param body string|nil
---@return true|nil
---@return fleet.Error|nil of kind "closed"
function Request:respond(status, headers, body) end

--- Begins a response whose length is not known.
---@param status integer
---@param headers string[] alternating names and values
---@return true|nil
---@return fleet.Error|nil of kind "closed"
function Request:begin(status, headers) end

--- Sends more of its body, and waits until the client's system has taken it.
---@param bytes string
---@return true|nil
---@return fleet.Error|nil of kind "closed"
function Request:write(bytes) end

--- Ends it.
---@return true|nil
---@return fleet.Error|nil of kind "closed"
function Request:finish() end

--- Whether the client has gone.
---@return boolean
function Request:is_closed() end

--- Waits until the client has gone, for that long at most.
---@param seconds number
---@return boolean whether it has
function Request:wait_closed(seconds) end

--- Ends the request. A response that is not complete breaks the connection.
function Request:close() end

return http_server
