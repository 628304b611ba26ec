-- SPDX-License-Identifier: MIT
-- A web page that runs, and what a browser without scripts does with it.

local e2e = require("spec.support.e2e")
local http = require("fleet.http")

local web_page = {}

--- Starts a web server with files. Returns its URL.
---@param world e2e.World
---@param files table<string, string> their bytes, by name
---@return string
function web_page.serve_files(world, files)
  local url = world:nginx().url
  for name, bytes in pairs(files) do world:write("www/" .. name, bytes) end
  return url
end

--- @class spec.WebPage
local Page = {}
Page.__index = Page

--- Starts `moonfleet web` and waits until it answers.
---@param world e2e.World
---@param ... string flags
---@return spec.WebPage
function web_page.start(world, ...)
  local port = e2e.free_port()
  local self = setmetatable({ port = port, base = "http://127.0.0.1:" .. port }, Page)
  self.words = { "web", "--listen", "127.0.0.1:" .. port, "--state", world:path("state"), ... }
  self.world = world
  self:restart()
  return self
end

--- Starts it again.
function Page:restart()
  self.process = self.world:program(self.words)
  e2e.wait_until("the page", function() return http.get(self.base .. "/healthz") end)
end

--- Ends it in order. Returns the exit code.
function Page:stop()
  e2e.kill(self.process.pid, 15)
  return self.process:wait().code
end

function Page:get(path, headers)
  return assert(http.get(self.base .. path, { headers = headers }))
end

--- Returns the code of the form on a page, and the cookie to send with it.
function Page:form(path)
  local page = self:get(path or "/checksums")
  local cookie = page.headers["set-cookie"] and page.headers["set-cookie"][1]:match("^[^;]+")
  return page.body:match('name="code" value="(%x+)"'), cookie
end

local function encode(s)
  return (s:gsub("[^%w]", function(c) return ("%%%02x"):format(c:byte()) end))
end

--- Sends a form.
function Page:post(path, fields, headers)
  local pairs_of = {}
  for name, value in pairs(fields) do pairs_of[#pairs_of + 1] = name .. "=" .. encode(value) end
  headers = headers or {}
  headers["Content-Type"] = "application/x-www-form-urlencoded"
  return assert(http.request("POST", self.base .. path, {
    body = table.concat(pairs_of, "&"), headers = headers, max_redirects = 0,
  }))
end

--- Sends the form of the page Checksums, with its code.
function Page:submit(fields)
  local code, cookie = self:form()
  fields.code = code
  return self:post("/checksums", fields, { Cookie = cookie })
end

--- Waits for the end of a run. Returns its results by number.
function Page:results(address)
  e2e.wait_until("the run to end", function()
    return not self:get(address).body:find('data-live="yes"', 1, true)
  end)
  local list = {}
  for _, row in ipairs(e2e.results(self:get(address .. "/results.jsonl").body)) do
    list[row.n] = row
  end
  return list
end

return web_page
