-- SPDX-License-Identifier: MIT
-- An HTTP site: routes requests to handlers, each in a task of its own, and adds to every response
-- what keeps browsers from harm. The bytes are those of host.http_server.
--
-- A handler gets the request and returns a response {status=, type=, body=, headers=}; the status
-- is 200 by default. It may instead refuse the request (`httpd.refuse`), or stream the response
-- (`Request:stream`) and return nothing.

local address_of = require("fleet.httpd.address")
local errors = require("fleet.errors")
local form = require("fleet.httpd.form")
local host = require("host.http_server")
local log = require("fleet.log")
local task = require("host.task")
local text = require("fleet.base.text")

local httpd = {}

-- Bytes of a body, unless the handler allows another number.
local MAX_BODY = 64 * 1024
local MAX_TARGET = 4096

-- Of every response. A page has no inline script and no inline style, so what a job returns can
-- only ever be text; and no other site can frame, embed or read it.
local HEADERS = {
  "Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "
    .. "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    .. "frame-ancestors 'none'",
  "X-Content-Type-Options", "nosniff",
  "X-Frame-Options", "DENY",
  "Referrer-Policy", "same-origin",
  "Cross-Origin-Opener-Policy", "same-origin",
  "Cross-Origin-Resource-Policy", "same-origin",
}

--- @class fleet.HttpRefusal
local Refusal = {}

--- Ends the handler: the response has this status, and a sentence as its body.
---@param status integer
---@param format string
---@param ... any
function httpd.refuse(status, format, ...)
  error(setmetatable({ status = status, message = format:format(...) }, Refusal), 0)
end

-- ---- requests ----

--- @class fleet.HttpRequest
--- @field method string
--- @field path string decoded
--- @field query table<string, string>
--- @field params string[] what the blanks of the route stand for
--- @field headers table<string, string>
--- @field peer string
--- @field length integer bytes of the body
local Request = {}
Request.__index = Request

--- Reads the body. Refuses one that is larger (413). Waits.
---@param max integer|nil bytes (default: 64 KiB)
---@return string
function Request:body(max)
  max = max or MAX_BODY
  if self.length > max then
    httpd.refuse(413, "The body has %d bytes; the limit is %d.", self.length, max)
  end
  local pieces = {}
  repeat
    local piece, err = self.raw:read()
    if err then error(err, 0) end
    pieces[#pieces + 1] = piece
  until not piece
  return table.concat(pieces)
end

--- Reads a form. Waits.
---@param max integer|nil bytes of the body
---@return fleet.HttpForm
function Request:form(max)
  local fields, fault = form.read(self.headers["content-type"] or "", self:body(max))
  if not fields then httpd.refuse(415, "%s", fault) end
  return fields
end

--- Returns the value of a cookie, or nil.
---@param name string
---@return string|nil
function Request:cookie(name)
  for key, value in (self.headers.cookie or ""):gmatch("([^=;%s]+)=([^;]*)") do
    if key == name then return value end
  end
  return nil
end

local function lines_of(site, response)
  local lines = { table.unpack(HEADERS) }
  if response.type then table.move({ "Content-Type", response.type }, 1, 2, #lines + 1, lines) end
  local set = { ["cache-control"] = false }
  for i = 1, #(response.headers or {}), 2 do
    set[response.headers[i]:lower()] = true
    table.move(response.headers, i, i + 1, #lines + 1, lines)
  end
  if not set["cache-control"] then
    table.move({ "Cache-Control", "no-store" }, 1, 2, #lines + 1, lines)
  end
  return table.move(site.headers, 1, #site.headers, #lines + 1, lines)
end

--- Begins a response whose end is not known. Returns true, or nil and an error of kind "closed".
--- The handler then calls `send`, and returns nothing in the end.
---@param type string
---@param headers string[]|nil alternating names and values
---@return true|nil
---@return fleet.Error|nil
function Request:stream(type, headers)
  self.streams = true
  return self.raw:begin(200, lines_of(self.site, { type = type, headers = headers }))
end

--- Sends bytes of a stream, and waits until the client takes them.
---@param bytes string
---@return true|nil
---@return fleet.Error|nil of kind "closed"
function Request:send(bytes)
  return self.raw:write(bytes)
end

--- Whether the client has left.
---@return boolean
function Request:is_closed()
  return self.raw:is_closed()
end

-- ---- requests that are refused ----

-- A name that somebody else owns may be made to mean this machine (DNS rebinding), and the pages of
-- that name could then read ours. An address cannot.
local function check_host(site, request)
  local name = request.headers.host and address_of.name(request.headers.host)
  if not name or not (address_of.is_ip(name) or name == "localhost" or site.names[name]) then
    httpd.refuse(421, "This server is not called %s; use its address.",
      text.quote(request.headers.host or "nothing"))
  end
end

-- Browsers say which page asks.
local function check_origin(request)
  local origin, site = request.headers.origin, request.headers["sec-fetch-site"]
  local reads = request.method == "GET" or request.method == "HEAD"
  local own = origin and origin:match("^https?://(.+)$") == request.headers.host
  if origin and not own or site == "cross-site" and not reads then
    httpd.refuse(403, "The request comes from a page of another site.")
  end
end

-- ---- routes ----

local function compile(routes)
  local compiled = {}
  for i, route in ipairs(routes) do
    local pattern = route[2]:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("{%w+}", "([^/]+)")
    compiled[i] = { method = route[1], pattern = "^" .. pattern .. "$", handler = route[3] }
  end
  return compiled
end

local function find(site, request)
  local allowed = {}
  for _, route in ipairs(site.routes) do
    local params = table.pack(request.path:match(route.pattern))
    if params[1] then
      if route.method == request.method
        or route.method == "GET" and request.method == "HEAD" then
        request.params = params
        return route.handler
      end
      allowed[#allowed + 1] = route.method
      if route.method == "GET" then allowed[#allowed + 1] = "HEAD" end
    end
  end
  if not allowed[1] then httpd.refuse(404, "There is no such page.") end
  request.allowed = table.concat(allowed, ", ")
  httpd.refuse(405, "This page takes %s.", request.allowed)
end

local function read_target(request, target)
  if #target > MAX_TARGET then httpd.refuse(414, "The address is too long.") end
  local path, query = target:match("^(/[^?#]*)%??([^#]*)$")
  path = path and form.percent_decoded(path)
  request.query = path and form.decode(query)
  if not request.query then httpd.refuse(400, "The address of the page is malformed.") end
  request.path = path
end

local function answer(site, request, target)
  check_host(site, request)
  check_origin(request)
  read_target(request, target)
  local handler = find(site, request)
  return handler(request)
end

-- What an error of a handler is answered with; nil when there is nobody to answer.
local function response_of(site, request, raised)
  local status, message = 500, "Something went wrong here; the log of this program has more."
  if getmetatable(raised) == Refusal then
    status, message = raised.status, raised.message
  elseif errors.is(raised) and raised.kind == "closed" then
    return nil
  else
    log.error("a request failed", { path = request.path, error = tostring(raised) })
  end
  local response = site.error_page and request.path and site.error_page(request, status, message)
    or { type = "text/plain; charset=utf-8", body = message .. "\n" }
  response.status = status
  if status == 405 then
    response.headers = response.headers or {}
    table.move({ "Allow", request.allowed }, 1, 2, #response.headers + 1, response.headers)
  end
  return response
end

local function serve(site, raw)
  local head = raw:head()
  local request = setmetatable({
    site = site, raw = raw, method = head.method, headers = head.headers, peer = head.peer,
    length = head.length,
  }, Request)
  local ok, response = xpcall(answer, function(raised)
    if type(raised) == "string" then return debug.traceback(raised, 2) end
    return raised
  end, site, request, head.target)
  if not ok then response = response_of(site, request, response) end
  if request.streams then
    if ok and not raw:is_closed() then raw:finish() end
  elseif response then
    raw:respond(response.status or 200, lines_of(site, response), response.body or "")
  end
  if site.on_request then site.on_request(request, response) end
end

-- ---- the site ----

--- @class fleet.HttpSite
local Site = {}
Site.__index = Site

--- Makes a site. `routes` is a list of {method, path, handler}; {word} in a path stands for a part
--- of it. `names` are host names, besides addresses and localhost, by which it is called;
--- `error_page(request, status, message)` makes the response to what fails; `on_request(request,
--- response)` is called after each; `headers` are added to every response.
---@param options {routes: table[], names: string[]|nil, error_page: function|nil,
---on_request: function|nil, max_connections: integer|nil, headers: string[]|nil}
---@return fleet.HttpSite
function httpd.new(options)
  local names = {}
  for _, name in ipairs(options.names or {}) do names[name:lower()] = true end
  return setmetatable({
    routes = compile(options.routes), names = names, error_page = options.error_page,
    on_request = options.on_request, max_connections = options.max_connections,
    headers = options.headers or {}, active = 0, idle = task.event(),
  }, Site)
end

--- Listens. Returns the port, or nil and an error of kind "usage".
---@param ip string
---@param port integer 0: a free one
---@return integer|nil
---@return fleet.Error|nil
function Site:listen(ip, port)
  local server, err = host.listen({
    host = ip, port = port, max_connections = self.max_connections,
  })
  if not server then return nil, err end
  self.server = server
  return server:port()
end

--- Answers requests until `shut_down`. Waits.
function Site:run()
  while true do
    local raw = self.server:accept()
    if not raw then return end
    self.active = self.active + 1
    task.spawn(function()
      local ok, err = pcall(serve, self, raw)
      raw:close()
      self.active = self.active - 1
      if self.active == 0 then self.idle:notify() end
      if not ok then log.error("a request failed", { error = tostring(err) }) end
    end)
  end
end

--- Stops listening, and ends all connections once the requests that have come are answered, or that
--- many seconds later. Waits.
---@param seconds number
function Site:shut_down(seconds)
  self.server:shut_down()
  if self.active > 0 then self.idle:wait(seconds) end
  self.server:close()
end

return httpd
