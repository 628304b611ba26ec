-- SPDX-License-Identifier: MIT
-- Proof that a form was made by this program and for this browser: a cookie names the browser, and
-- each form has a code that belongs to the cookie, which no other site can read.

local digest = require("fleet.digest")
local httpd = require("fleet.httpd")
local sys = require("host.sys")

local csrf = {}

local COOKIE = "moonfleet"

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- @class fleet.Csrf
local Csrf = {}
Csrf.__index = Csrf

--- Makes a key of its own: forms of an earlier process are not accepted.
---@return fleet.Csrf
function csrf.new()
  return setmetatable({ key = sys.random(32) }, Csrf)
end

local function code_of(self, browser)
  return digest.hmac_sha256(self.key, browser)
end

--- Returns the code for a form of the page that is requested, and the headers of its response.
---@param request fleet.HttpRequest
---@return string code
---@return string[] headers
function Csrf:issue(request)
  local browser = request:cookie(COOKIE)
  if browser and browser:find("^%x+$") and #browser == 32 then
    return code_of(self, browser), {}
  end
  browser = hex(sys.random(16))
  return code_of(self, browser), {
    "Set-Cookie", ("%s=%s; Path=/; HttpOnly; SameSite=Strict"):format(COOKIE, browser),
  }
end

--- Refuses a form without the right code.
---@param request fleet.HttpRequest
---@param fields table<string, string>
function Csrf:check(request, fields)
  local browser = request:cookie(COOKIE)
  -- digests of both, so that the time that a comparison takes tells nothing
  local given = digest.sha256(fields.code or "")
  if not browser or given ~= digest.sha256(code_of(self, browser)) then
    httpd.refuse(403, "This form is out of date; load its page again, and send it from there.")
  end
end

return csrf
