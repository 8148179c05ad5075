-- The tests of an assignment as a plan: {language, build, run, limits, cases}.
--
-- `test.yaml` (or `test.yml`) at the top of the tests:
--
--   language: c                 # c, cpp or python
--   build: [make]               # optional: instead of the language's own way
--   run: [./program]            # optional
--   limits: { time: 2, memory: 64M, output: 64K }   # optional: only tighter than the task's parameters
--   cases:
--     - name: adds two numbers
--       stdin: "1 2\n"          # default: nothing
--       args: ["-v"]            # default: none
--       stdout: "3\n"           # expected; left out: anything
--       exit: 0                 # expected exit status; default 0
--       compare: trimmed        # exact | trimmed (default: white space at ends of lines and of the whole does not count) | contains
--       points: 1
--       hint: "mind the carry"  # shown when the case fails
--
-- Without it, the directory convention: every `NAME.out` (expected stdout) with an optional `NAME.in` (stdin), `NAME.args` (one argument a line) and
-- `NAME.hint`, in `cases/` or at the top; the language comes from the task's parameters.
local fs        = require "ctutor.fs"
local yaml      = require "ctutor.yaml"
local json      = require "ctutor.json"
local languages = require "grading.languages"
local compare   = require "grading.compare"

local M = {}

local OUTPUT_MOST = 16 * 1024 ^ 2 -- it is held in memory
local UNIT = { [""] = 1, K = 1024, M = 1024 ^ 2, G = 1024 ^ 3 }

local function bytes(value)
  local number, unit = tostring(value):match("^(%d+)([KMG]?)$")
  return number and tonumber(number) * UNIT[unit]
end

-- What a value must be: each says whether it is, and how to say it.
local is = {
  text    = { function(value) return type(value) == "string" end, "a text (quote numbers)" },
  status  = { function(value) return type(value) == "number" and value % 1 == 0 and value >= 0 and value <= 255 end, "a number from 0 to 255" },
  points  = { function(value) return type(value) == "number" and value >= 0 and value < math.huge end, "a number of 0 or more" },
  seconds = { function(value) return type(value) == "number" and value > 0 end, "a number of seconds" },
  size    = { function(value) return bytes(value) ~= nil end, "a size such as 64M" },
  compare = { function(value) return compare.known[value] ~= nil end, "exact, trimmed or contains" },
  mapping = { function(value) return type(value) == "table" and #value == 0 end, "a mapping" },
  list    = { function(value) return type(value) == "table" and #value > 0 end, "a list with at least one case" },
  texts   = { function(value)
    if type(value) ~= "table" then return false end
    local count = 0
    for _, entry in pairs(value) do
      count = count + 1
      if type(entry) ~= "string" or entry:find("%z") then return false end
    end
    return count == #value
  end, "a list of texts without NUL (quote numbers)" },
}

local PLAN = { language = is.text, build = is.texts, run = is.texts, limits = is.mapping, cases = is.list }
local LIMITS = { time = is.seconds, memory = is.size, output = is.size }
local CASE = {
  name = is.text, stdin = is.text, args = is.texts, stdout = is.text, exit = is.status, compare = is.compare, points = is.points, hint = is.text,
}

-- A copy without nulls of a mapping that holds nothing but what its fields allow; or nil and a message.
local function check(given, fields, where)
  if type(given) ~= "table" then return nil, where .. " must be a mapping" end
  local copy = {}
  for key, value in pairs(given) do
    local field = fields[key]
    if not field then return nil, where .. ": '" .. tostring(key) .. "' is not known here" end
    if value ~= json.null then
      if not field[1](value) then return nil, where .. ": " .. key .. " must be " .. field[2] end
      copy[key] = value
    end
  end
  return copy
end

local function complete(case, i)
  case.name, case.args, case.points, case.compare, case.exit =
    case.name or "case " .. i, case.args or {}, case.points or 1, case.compare or "trimmed", case.exit or 0
  return case
end

local function from_yaml(path)
  local text, message = fs.read(path)
  if not text then return nil, message end
  local given, plan
  given, message = yaml.decode(text)
  if given == nil then return nil, "test.yaml:" .. message end
  plan, message = check(given, PLAN, "test.yaml")
  if not plan then return nil, message end
  if not plan.cases then return nil, "test.yaml: cases must be a list with at least one case" end
  plan.limits, message = check(plan.limits or {}, LIMITS, "test.yaml: limits")
  if not plan.limits then return nil, message end
  local cases = {}
  for i, case in ipairs(plan.cases) do
    local name = type(case) == "table" and type(case.name) == "string" and " (" .. case.name .. ")" or ""
    case, message = check(case, CASE, "test.yaml: case " .. i .. name)
    if not case then return nil, message end
    cases[i] = complete(case, i)
  end
  plan.cases = cases
  return plan
end

local function lines(text)
  local list = {}
  for line in (text or ""):gmatch("[^\n]+") do list[#list + 1] = line end
  return list
end

-- nil and a message only where there is such a file that cannot be read.
local function read_optional(path)
  if fs.exists(path) then return fs.read(path) end
end

local function from_directory(directory)
  local base = fs.exists(directory .. "/cases") and directory .. "/cases" or directory
  local names, message = fs.list(base)
  if not names then return nil, message end
  local cases = {}
  for _, file in ipairs(names) do
    local name = file:match("^(.+)%.out$")
    if name then
      local stem, case, words = base .. "/" .. name, { name = name }, nil
      case.stdout, message = fs.read(stem .. ".out")
      if case.stdout then case.stdin, message = read_optional(stem .. ".in") end
      if not message then words, message = read_optional(stem .. ".args") end
      if not message then case.hint, message = read_optional(stem .. ".hint") end
      if message then return nil, message end
      case.args = lines(words)
      cases[#cases + 1] = complete(case, #cases + 1)
    end
  end
  if #cases == 0 then return nil, "there is neither a test.yaml nor a file NAME.out" end
  return { cases = cases, limits = {} }
end

local function read(directory)
  for _, name in ipairs { "test.yaml", "test.yml" } do
    if fs.exists(directory .. "/" .. name) then return from_yaml(directory .. "/" .. name) end
  end
  return from_directory(directory)
end

local function tighter(parameter, own) return own and own < parameter and own or parameter end

-- The plan of the tests in a directory; nil and a message where they are not usable.
function M.read(directory, params)
  local plan, message = read(directory)
  if not plan then return nil, message end
  local name = params.language or plan.language
  local language = languages.known[name]
  if not name then return nil, "give the language (c, cpp, python) in test.yaml or as a parameter" end
  if not language then return nil, "test.yaml: the language '" .. name .. "' is not known (c, cpp, python are)" end
  plan.build, plan.run = plan.build or language.build, plan.run or language.run
  if #plan.build == 0 or #plan.run == 0 then return nil, "test.yaml: build and run name a program" end
  plan.limits = {
    time   = tighter(params.time_limit, plan.limits.time),
    memory = tighter(bytes(params.memory_limit), plan.limits.memory and bytes(plan.limits.memory)),
    output = math.min(OUTPUT_MOST, tighter(bytes(params.output_limit), plan.limits.output and bytes(plan.limits.output))),
  }
  return plan
end

return M
