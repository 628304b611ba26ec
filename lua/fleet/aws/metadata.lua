-- SPDX-License-Identifier: MIT
-- Questions to the services of the instance or the container itself: near, small, and asked
-- again when they are in passing trouble. May wait.

local retry = require("fleet.aws.retry")

local metadata = {}

local MAX_BYTES = 64 * 1024
-- Of the first pause; the service is a few microseconds away.
local BACKOFF = 0.2
-- No attempt is begun with less time than this.
local SHORTEST = 0.1

local RETRIED = {
  timeout = true, connect = true, truncated = true, protocol = true, dns = true,
}

--- @class fleet.aws.Limits
--- @field connect number seconds until a connection stands
--- @field whole number seconds of one attempt
--- @field total number seconds of all attempts
--- @field attempts integer

--- Asks until there is an answer that is no passing trouble, or there were attempts enough.
---@param tools fleet.aws.Tools
---@param url string
---@param options table `method`, `headers`
---@param limits fleet.aws.Limits
---@return fleet.HttpResponse|nil of any status
---@return fleet.Error|nil
function metadata.ask(tools, url, options, limits)
  local give_up = tools.now() + limits.total
  local answer, err
  for attempt = 1, limits.attempts do
    local left = give_up - tools.now()
    answer, err = tools.request(url, "buffer", {
      method = options.method, headers = options.headers, metadata = true, compressed = false,
      max_bytes = MAX_BYTES, max_redirects = 0,
      connect_timeout = math.max(SHORTEST, math.min(limits.connect, left)),
      timeout = math.max(SHORTEST, math.min(limits.whole, left)),
    })
    local passing = answer and (answer.status == 429 or answer.status >= 500)
      or err and RETRIED[err.kind]
    if not passing then break end
    local pause = retry.backoff(attempt, tools.random(), BACKOFF)
    if attempt == limits.attempts or tools.now() + pause + SHORTEST >= give_up then break end
    tools.sleep(pause)
  end
  return answer, err
end

return metadata
