-- Computes the SHA-256 of every URL. Shows the shortest form of a job. The body
-- goes from the socket into the digest, so its size does not matter.
--   moonfleet run scripts/checksum.lua urls.txt
local http = require("fleet.http")

return {
  summary = "SHA-256 of every URL",
  map = function(url) return http.sha256(url) end,
  options = { timeout = 60, retries = 2 },
}
