-- SPDX-License-Identifier: MIT
-- Words and phrases that the tree does not use, each with the standard term.
--
-- A word matches parts of identifiers ("said" matches said_list and SAID_MAX) and of names of
-- files. Words in EVERYWHERE also match in comments, strings and documents. A word in capitals
-- matches constants only. The third field limits an entry to paths that match the pattern.

local words = {}

-- Home-made terms, which are used neither in code nor in comments, messages or documents
local EVERYWHERE = {
  { "blame", "attribution, or the culprit" },
  { "farewell", "shutdown" },
  { "favours", "additional records" },
  { "guilty", "the culprit" },
  { "hungry", "starved, or idle" },
  { "innocent", "bystander" },
  { "innocents", "bystanders" },
  { "keeper", "instance monitor" },
  { "lane", "request slot" },
  { "lent", "borrowed" },
  { "loser", "cancelled duplicate" },
  { "losers", "cancelled duplicates" },
  { "mend", "repair, work around, or reconnect" },
  { "onward", "the next step" },
  { "poke", "refresh" },
  { "punished", "killed" },
  { "rival", "duplicate attempt" },
  { "rivals", "duplicate attempts" },
  { "roster", "workers" },
  { "said", "output, given, or the name of what said it" },
  { "spoilt", "damaged" },
  { "stuffed", "backlogged" },
  { "tidy", "clean up" },
  { "unready", "not ready" },
  { "unwait", "cancel the wait" },
  { "worn", "rejected" },
}

-- Words that are good English in a sentence but, as a name, vague or taken for another meaning
local CODE = {
  { "act", "perform", "^host/net/" },
  { "answers", "replies", "^lua/fleet/driver/" },
  { "ask", "request, or query" },
  { "asks", "requests, or upcalls" },
  { "backlog", "the name of the queue", "^lua/fleet/scheduler/" },
  { "blame", "attribution", "^lua/fleet/" },
  { "box", "handle, or struct lua_X", "^host/" },
  { "child", "task", "^host/bindings/lib_task" },
  { "choke", "back_pressured" },
  { "choose", "resolve, or select", "^lua/" },
  { "context", "session", "^host/node/" },
  { "context", "job session", "^host/worker/" },
  { "doubt", "the name of the check", "^lua/fleet/discovery/" },
  { "ending", "shutdown", "^lua/fleet/scheduler/" },
  { "flight", "singleflight", "^lua/fleet/aws/" },
  { "flight", "singleflight", "^lua/fleet/base/" },
  { "flight", "singleflight", "^lua/fleet/ship/" },
  { "gone", "removed, or closed" },
  { "guard", "filter", "^host/net/" },
  { "guilty", "culprit", "^lua/fleet/" },
  { "held", "pending", "^host/node/" },
  { "held_bytes", "buffer_bytes", "^lua/fleet/scheduler/" },
  { "hopeless", "overloaded" },
  { "lane", "request slot", "^lua/fleet/cluster/" },
  { "lanes", "request slots", "^lua/fleet/cluster/" },
  { "link", "session", "^lua/fleet/cluster/" },
  { "link", "session", "^lua/fleet/driver/" },
  { "link", "session", "^lua/fleet/scheduler/" },
  { "links", "sessions", "^lua/fleet/cluster/" },
  { "links", "sessions", "^lua/fleet/driver/" },
  { "look", "poll, or check" },
  { "look_again", "poll" },
  { "lose", "expire, or abort", "^host/node/" },
  { "lose", "abort", "^lua/fleet/cluster/" },
  { "lose", "fail", "^lua/fleet/scheduler/" },
  { "losing", "cancelling", "^lua/fleet/scheduler/" },
  { "loss", "failure", "^lua/fleet/scheduler/" },
  { "mend", "reconnect", "^lua/fleet/" },
  { "mended", "reconnected", "^lua/fleet/" },
  { "mute", "silent", "^host/net/" },
  { "nobody", "why_empty", "^lua/fleet/discovery/" },
  { "order", "request", "^host/net/" },
  { "over", "closed, exceeded, or finished" },
  { "owed", "unanswered", "^host/net/" },
  { "past", "attempts, or history", "^lua/fleet/scheduler/" },
  { "pool", "workers", "^host/node/" },
  { "pool", "cluster", "^lua/fleet/" },
  { "program", "process", "^host/bindings/" },
  { "race", "duplicate", "^lua/fleet/scheduler/" },
  { "recall", "restore", "^lua/fleet/discovery/" },
  { "record", "event", "^host/node/" },
  { "record", "event, or outcome", "^host/worker/" },
  { "refusal", "error", "^host/node/" },
  { "refusal", "service_error", "^lua/fleet/aws/" },
  { "remote", "client", "^lua/fleet/worker/" },
  { "say", "describe, or print" },
  { "says", "describes" },
  { "seen", "received", "^host/node/" },
  { "session_lose", "session_expire" },
  { "session_take", "session_mark_received" },
  { "session_was", "session_is_closed" },
  { "settle", "resolve, or finish" },
  { "signal", "event", "^host/bindings/lib_task" },
  { "signal", "event", "^host/lua/task" },
  { "store", "cache", "^lua/fleet/discovery/" },
  { "stream", "job", "^host/worker/" },
  { "stream", "job", "^lua/fleet/cluster/" },
  { "stream", "job", "^lua/fleet/driver/" },
  { "stream", "job", "^lua/fleet/scheduler/" },
  { "tell", "reply, or report" },
  { "tells", "replies" },
  { "transfer_rest", "transfer_reset" },
  { "trouble", "problem", "^lua/fleet/discovery/" },
  { "was", "is_closed", "^host/node/" },
  { "watch", "task_page", "^host/wire/" },
  { "watch", "task_page", "^host/worker/" },
  { "who", "the name of the role" },
  { "work", "running_task", "^host/worker/job" },
  { "FAREWELL", "SHUTDOWN_TIMEOUT" },
  { "FAREWELL", "END_TIMEOUT", "^lua/fleet/cluster/" },
  { "GROWN", "STABLE_AFTER" },
  { "LATEST", "MAX_INTERVAL" },
  { "LEAST", "MIN_" },
  { "LINGER", "_TIMEOUT" },
  { "LONGEST", "MAX_" },
  { "LOOK", "POLL_INTERVAL" },
  { "MOST", "MAX_" },
  { "PATIENCE", "_TIMEOUT" },
  { "PATIENCE", "_TIMEOUT", "^lua/fleet/driver/" },
  { "RARELY", "MAX_INTERVAL" },
  { "SOONEST", "MIN_INTERVAL" },
}

-- Phrases in comments, messages and documents, as patterns in lower case
local PHRASES = {
  { "not given:", '"default: 10"' },
  { "%f[%w]who asks", '"the caller"' },
  { "%f[%w]who may", '"whoever may", or the name of the role' },
  { "%f[%w]who has", "the name of the role" },
  { "%f[%w]who fills", "the name of the role" },
  { "%f[%w]who does", "the name of the role" },
  { "%f[%w]it is said", "the name of the function or file that says it" },
  { "%f[%w]it is told", '"it receives", or the name of the sender' },
  { "this unit provides", "the name, or an imperative" },
  { "makes no sense", "what is wrong with it" },
}

--- Returns C or Lua without comments and the contents of strings; keeps newlines.
local function code_of(text, language)
  local out, at = {}, 1
  local long = language == "lua" and "%-%-%[%[" or "/%*"
  local long_end = language == "lua" and "]]" or "*/"
  local short = language == "lua" and "%-%-" or "//"
  while at <= #text do
    local from = text:find(language == "lua" and "[\"'%-]" or "[\"'/]", at)
    if not from then break end
    out[#out + 1] = text:sub(at, from - 1)
    local to = from
    if text:find("^" .. long, from) then
      to = select(2, text:find(long_end, from + 2, true)) or #text
    elseif text:find("^" .. short, from) then
      to = (text:find("\n", from, true) or #text + 1) - 1
    elseif text:find("^[\"']", from) then
      repeat
        to = text:find("[\\\n" .. text:sub(from, from) .. "]", to + 1) or #text
        local stop = text:sub(to, to) ~= "\\"
        if not stop then to = to + 1 end
      until stop or to >= #text
      if text:sub(to, to) == "\n" then to = to - 1 end
    end
    out[#out + 1] = " " .. text:sub(from, to):gsub("[^\n]", "")
    at = to + 1
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

local function each_line(text, f)
  local number = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    f(number, line)
  end
end

--- Whether an identifier or a word has a part that the entry names.
local function has(token, word)
  local name = word:find("%u") and token or token:lower()
  return ("_" .. name .. "_"):find("_" .. word .. "_", 1, true) ~= nil
end

local function check_words(list, path, text, report)
  local entries = {}
  for _, entry in ipairs(list) do
    if not entry[3] or path:find(entry[3]) then entries[#entries + 1] = entry end
  end
  if #entries == 0 then return end
  each_line(text, function(number, line)
    for token in line:gmatch("[%a_][%w_]*") do
      for _, entry in ipairs(entries) do
        if has(token, entry[1]) then
          report(path, number, "word", ("'%s' is a word of our own"):format(entry[1]),
            "write " .. entry[2])
        end
      end
    end
  end)
end

--- Reports the words and phrases of a file that has prose or code of ours.
---@param path string
---@param text string
---@param report fun(path: string, line: integer, rule: string, text: string, advice: string)
function words.check(path, text, report)
  local language = path:find("^host/.*%.[ch]$") and "c" or path:find("^lua/.*%.lua$") and "lua"
  local document = path == "README.md" or path:find("^docs/[^/]*%.md$")
  if not language and not document then return end
  check_words(EVERYWHERE, path, text, report)
  if language then
    check_words(EVERYWHERE, path, (path:gsub("%.%w+$", "")), report)
    check_words(CODE, path, (path:gsub("%.%w+$", "")), report)
    check_words(CODE, path, code_of(text, language), report)
  end
  each_line(text, function(number, line)
    for _, phrase in ipairs(PHRASES) do
      if line:lower():find(phrase[1]) then
        report(path, number, "phrase", ("'%s' is not plain English"):format(
          line:lower():match(phrase[1])), "write " .. phrase[2])
      end
    end
  end)
end

return words
