---@meta host.http
-- SPDX-License-Identifier: MIT
-- HTTP by libcurl (host/bindings/lib_http.c); fleet.http is the public face.

local http = {}

--- @class host.HttpSign AWS Signature Version 4
--- @field service string as in the name of its host: "ec2"
--- @field region string
--- @field key string the access key
--- @field secret string

--- @class host.HttpOptions: fleet.HttpRequestOptions
--- @field method? string
--- @field sign? host.HttpSign signs a POST with a body whose URL has no query; a session token is
---   the header x-amz-security-token. This and the next two are for trusted states only, and
---   follow no redirects
--- @field metadata? boolean may reach the instance's own services
--- @field proxy? "environment" use the proxy of https_proxy, no_proxy and so on

--- Fetches a URL. Waits. Misuse raises at the line that called the caller.
---@param url string
---@param keep "sha256"|"buffer" how to return the body
---@param options host.HttpOptions|nil
---@return fleet.HttpDigest|fleet.HttpResponse|nil
---@return fleet.Error|nil
function http.request(url, keep, options) end

return http
