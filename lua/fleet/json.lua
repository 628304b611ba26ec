-- SPDX-License-Identifier: MIT
-- JSON text for jobs and for the command line's JSON Lines.

local check = require("fleet.base.check")
local host = require("host.json")

local json = {}

--- Reads a JSON text. Objects and arrays become tables, null becomes nil: absent from an object, a
--- hole in an array. Integers of up to 64 bits stay integers; larger ones become floats, and
--- numbers too large for any float become the largest float. Half of a surrogate pair becomes
--- U+FFFD. A byte order mark is skipped. The text "null" returns nil and no error.
---
---     local page = json.decode('{"bytes": 17, "links": ["a", null, "b"]}')
---     -- page.bytes == 17, page.links[3] == "b"
---@param text string UTF-8
---@return any value nil for null, and on failure
---@return fleet.Error? err kind "decode"; the message has line and column
json.decode = host.decode

--- Writes a value as JSON on one line; equal values give equal text. Empty tables and tables with
--- exactly the keys 1..n (few holes are allowed and become null) become arrays, also with a field
--- `n` that is the length, as from fleet.pmap and table.pack. Other tables become objects with
--- sorted names. Floats keep a point or an exponent; NaN and infinity become the strings "NaN",
--- "Infinity", "-Infinity"; strings that are not UTF-8 become {"base64": "..."}. Metatables are
--- ignored.
---@param value any no function, userdata, coroutine or cycle inside
---@return string? text nil on failure
---@return fleet.Error? err kind "encode" with the path of what cannot be written, or "too_large"
json.encode = host.encode

--- Writes an object with the given members in the given order, such as the line
--- `json.encode_record("item", url, "value", result)`. A nil value becomes null.
---@param ... any a name (string), its value, the next name, ...
---@return string? text nil on failure
---@return fleet.Error? err as for encode; the path starts with the name of the member
json.encode_record = host.encode_record

--- Makes an empty buffer of JSON Lines, for output of many records. `lines:add(name, value, ...)`
--- appends a record as encode_record writes it and a line feed, and returns the number of bytes in
--- the buffer; or it appends nothing and returns nil and an error. `lines:take()` returns the
--- content and empties the buffer.
---@return userdata lines
json.lines = host.lines

return check.module("fleet.json", json)
