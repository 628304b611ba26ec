---@meta host.http
-- SPDX-License-Identifier: MIT
-- HTTP by libcurl (host/lib_http.c); fleet.http is the public face.

local http = {}

--- Fetches a URL. Waits. Misuse raises at the line that called the caller.
---@param url string
---@param keep "sha256"|"buffer" what becomes of the body
---@param options table|nil as fleet.HttpRequestOptions, and `method`
---@return fleet.HttpDigest|fleet.HttpResponse|nil
---@return fleet.Error|nil
function http.request(url, keep, options) end

return http
