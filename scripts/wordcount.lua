-- Counts how often each word occurs. Shows reduce, which folds the results of all
-- items into one; only small tables of counts travel, not the text.
--   moonfleet run scripts/wordcount.lua book.txt --format table
return {
  summary = "counts the words of the input lines",

  map = function(line)
    local counts = {}
    for word in line:lower():gmatch("[%a\x80-\xff][%w'\x80-\xff]*") do
      counts[word] = (counts[word] or 0) + 1
    end
    return counts
  end,

  init = {},
  reduce = function(total, counts)
    for word, n in pairs(counts) do total[word] = (total[word] or 0) + n end
    return total
  end,
}
