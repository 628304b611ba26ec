-- SPDX-License-Identifier: MIT
-- HTTP for jobs and scripts: HTTP/1.1 and 2, TLS verified, connections kept alive. Every
-- call waits without blocking the other tasks of the worker. Any HTTP status is a result. A
-- call without a response returns `nil, err`, with err.kind one of url, dns, connect, refused
-- (an address that jobs may not reach), tls, timeout, too_large, redirect, truncated (headers
-- or body ended early), protocol (the response is not HTTP), decode (the body cannot be
-- decoded), memory; err.status is the status of a response that had begun. Misuse raises an
-- error.
--
-- Blanks around a URL are ignored. A host name beyond ASCII, in UTF-8, works in any locale;
-- results have its ASCII form (`http://xn--bcher-kva.example/`).
--
-- Compressed bodies are gzip, in one part or several, or deflate, with zlib's header or
-- without. One that was cut off has the kind truncated; one that is corrupt, has anything but
-- zero bytes behind its end, or has another coding, has the kind decode.

local check = require("fleet.base.check")
local request = require("host.http").request

local http = {}

--- @class fleet.HttpOptions
--- @field headers? table<string, string|number|(string|number)[]> request headers
--- @field timeout? number seconds for the whole transfer, from its start; default: 60
--- @field connect_timeout? number seconds until the connection stands; default: 10
--- @field max_bytes? integer largest decoded body; default: 64 MiB (sha256: no limit)
--- @field max_redirects? integer redirects to follow; more are an error, 0 returns the
---   redirect itself; default: 10
--- @field insecure? boolean do not verify TLS certificates; default: false
--- @field compressed? boolean offer gzip and deflate, and decode; default: true (sha256: false)
--- @field cookies? boolean send cookies that a redirect sets to its target, then forget them;
---   default: false

--- @class fleet.HttpRequestOptions: fleet.HttpOptions
--- @field body? string request body

--- @class fleet.HttpResponse
--- @field status integer HTTP status of the last response
--- @field url string its URL, after redirects, the host in ASCII
--- @field headers table<string, string|string[]> lower-case names; repeated ones are
---   joined by ", ", lines of a folded one by a space; set-cookie is always a list
--- @field trailers? table<string, string|string[]> the same for trailers behind a chunked
---   body, if there are any
--- @field body string decoded body
--- @field bytes integer its size
--- @field elapsed number seconds that the transfer took, without its time in the queue

--- @class fleet.HttpDigest
--- @field status integer HTTP status of the last response
--- @field url string its URL, after redirects, the host in ASCII
--- @field bytes integer size of the body
--- @field sha256 string lower-case hexadecimal digest of the body
--- @field elapsed number seconds that the transfer took, without its time in the queue

local OPTIONS = {
  headers = "table",
  timeout = check.positive,
  connect_timeout = check.positive,
  max_bytes = check.integer(1),
  max_redirects = check.integer(0),
  insecure = "boolean",
  compressed = "boolean",
  cookies = "boolean",
}

local REQUEST_OPTIONS = { body = "string" }
for name, rule in pairs(OPTIONS) do REQUEST_OPTIONS[name] = rule end

--- Fetches `url` and returns the size and SHA-256 of its body, which is never held in memory.
---@param url string
---@param opts? fleet.HttpOptions
---@return fleet.HttpDigest|nil, fleet.Error|nil
function http.sha256(url, opts)
  return request(url, "sha256", opts and check.options("http.sha256", opts, OPTIONS))
end

--- Fetches `url` and returns the response with its body.
---@param url string
---@param opts? fleet.HttpOptions
---@return fleet.HttpResponse|nil, fleet.Error|nil
function http.get(url, opts)
  return request(url, "buffer", opts and check.options("http.get", opts, OPTIONS))
end

--- Sends `body` by POST and returns the response; a Content-Type header describes the body. The
--- request is sent at most once, on a new connection, like every one that is not idempotent.
---@param url string
---@param body string
---@param opts? fleet.HttpOptions
---@return fleet.HttpResponse|nil, fleet.Error|nil
function http.post(url, body, opts)
  local options = check.options("http.post", opts, OPTIONS)
  if type(body) ~= "string" then
    check.misuse("http.post: the body must be a string, got %s", type(body))
  end
  options.method, options.body = "POST", body
  return request(url, "buffer", options)
end

--- Sends a request with any method ("PUT", "HEAD") and returns the response.
---@param method string
---@param url string
---@param opts? fleet.HttpRequestOptions
---@return fleet.HttpResponse|nil, fleet.Error|nil
function http.request(method, url, opts)
  local options = check.options("http.request", opts, REQUEST_OPTIONS)
  if type(method) ~= "string" then
    check.misuse("http.request: the method must be a string, got %s", type(method))
  end
  options.method = method:upper()
  return request(url, "buffer", options)
end

return check.module("fleet.http", http)
