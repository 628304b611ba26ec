-- SPDX-License-Identifier: MIT
-- Requests to the metadata services of the instance or the container, which are near and answer
-- briefly; transient failures are retried. May wait.

local retry = require("fleet.aws.retry")

local metadata = {}

local MAX_BYTES = 64 * 1024
-- Seconds of the first pause, at most; the service is only microseconds away.
local BACKOFF = 0.2
-- Seconds; no attempt is begun when less time is left.
local MIN_ATTEMPT = 0.1

--- @class fleet.aws.Limits
--- @field connect number seconds to connect
--- @field attempt number seconds of one attempt
--- @field total number seconds of all attempts
--- @field attempts integer

--- Repeats a request until it does not fail for a transient reason, or a limit is reached.
---@param tools fleet.aws.Tools
---@param url string
---@param options table `method`, `headers`
---@param limits fleet.aws.Limits
---@return fleet.HttpResponse|nil of any status
---@return fleet.Error|nil
function metadata.request(tools, url, options, limits)
  local deadline = tools.now() + limits.total
  local response, err
  for attempt = 1, limits.attempts do
    local left = deadline - tools.now()
    response, err = tools.request(url, "buffer", {
      method = options.method, headers = options.headers, metadata = true, compressed = false,
      max_bytes = MAX_BYTES, max_redirects = 0,
      connect_timeout = math.max(MIN_ATTEMPT, math.min(limits.connect, left)),
      timeout = math.max(MIN_ATTEMPT, math.min(limits.attempt, left)),
    })
    local is_transient
    if response then
      is_transient = response.status == 429 or response.status >= 500
    else
      is_transient = retry.class(err) == "lost"
    end
    if not is_transient then break end
    local pause = retry.backoff(attempt, tools.random(), BACKOFF)
    if attempt == limits.attempts or tools.now() + pause + MIN_ATTEMPT >= deadline then break end
    tools.sleep(pause)
  end
  return response, err
end

return metadata
