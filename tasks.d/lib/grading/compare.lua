-- Is what a program wrote what was expected, and where does it first differ?
local text = require "grading.text"

local M = {}

local SHOWN_BYTES = 200

local function trim(words) return (words:gsub("[ \t\r]+\n", "\n"):gsub("%s+$", ""):gsub("^%s+", "")) end

M.known = {
  exact    = function(got, want) return got == want end,
  trimmed  = function(got, want) return trim(got) == trim(want) end,
  contains = function(got, want) return got:find(want, 1, true) ~= nil end,
}

local function lines(words)
  local list = {}
  for line in (words .. "\n"):gmatch("(.-)\n") do list[#list + 1] = line end
  return list
end

local function shown(words) return words and text.quoted(words, SHOWN_BYTES) or "nothing" end

-- For the student.
function M.difference(how, got, want)
  if how == "contains" then return "expected " .. shown(want) .. " somewhere, got " .. shown(got) end
  if how == "trimmed" then got, want = trim(got), trim(want) end
  local got_lines, want_lines = lines(got), lines(want)
  if got == "" or (#got_lines == 1 and #want_lines == 1) then
    return "expected " .. shown(want) .. ", got " .. (got == "" and "no output" or shown(got))
  end
  local at = 1
  while M.known[how](got_lines[at] or "", want_lines[at] or "") and got_lines[at] and want_lines[at] do at = at + 1 end
  return ("line %d: expected %s, got %s"):format(at, shown(want_lines[at]), shown(got_lines[at]))
end

return M
