-- Reading the tests of an assignment and running one of them.
--
-- `test.yaml` (or `test.yml`) at the top of the tests:
--
--   language: c                 # c, cpp or python
--   build: [gcc, -o, program, main.c]     # optional: instead of the language's own way
--   run: [./program]            # optional
--   limits: { time: 2, memory: 64M, output: 64K }   # optional: tighter than the submission's parameters
--   cases:
--     - name: adds two numbers
--       stdin: "1 2\n"          # default: nothing
--       args: ["-v"]            # default: none
--       stdout: "3\n"           # expected; left out: anything
--       exit: 0                 # expected exit status; default 0
--       compare: exact          # exact | trimmed (default: white space at ends of lines and of the whole does not count) | contains
--       points: 1
--
-- Without it, the directory convention: every `NAME.in` (stdin) or `NAME.args` (one argument a line) with a `NAME.out` (expected stdout), in
-- `cases/` or at the top; the language comes from the task's parameters.
local fs        = require "ctutor.fs"
local yaml      = require "ctutor.yaml"
local languages = require "grading.languages"
local sandbox   = require "grading.sandbox"

local M = {}

local UNIT = { [""] = 1, K = 1024, M = 1024 ^ 2, G = 1024 ^ 3 }

local function bytes(text)
  local number, unit = tostring(text):match("^(%d+)([KMG]?)$")
  return number and tonumber(number) * UNIT[unit]
end

local function is_list_of_texts(value)
  if type(value) ~= "table" then return false end
  for i = 1, #value do
    if type(value[i]) ~= "string" then return false end
  end
  return true
end

local function check_case(case, i)
  local where = "test.yaml: case " .. i
  if type(case) ~= "table" then return nil, where .. " must be a mapping" end
  case.name = case.name == nil and ("case " .. i) or tostring(case.name)
  where = where .. " (" .. case.name .. ")"
  case.args, case.points, case.compare, case.exit =
    case.args or {}, case.points or 1, case.compare or "trimmed", case.exit or 0
  if not is_list_of_texts(case.args) then return nil, where .. ": args must be a list of texts (quote numbers)" end
  if type(case.points) ~= "number" or case.points < 0 then return nil, where .. ": points must be a number of 0 or more" end
  if case.stdin ~= nil and type(case.stdin) ~= "string" then return nil, where .. ": stdin must be a text" end
  if case.stdout ~= nil and type(case.stdout) ~= "string" then return nil, where .. ": stdout must be a text" end
  if not M.compare[case.compare] then return nil, where .. ": compare must be exact, trimmed or contains" end
  return case
end

local function from_yaml(path)
  local text, message = fs.read(path)
  if not text then return nil, message end
  local plan
  plan, message = yaml.decode(text)
  if plan == nil then return nil, "test.yaml: " .. message end
  if type(plan) ~= "table" or type(plan.cases) ~= "table" or #plan.cases == 0 then
    return nil, "test.yaml: there must be a list `cases` with at least one case"
  end
  for i, case in ipairs(plan.cases) do
    plan.cases[i], message = check_case(case, i)
    if message then return nil, message end
  end
  for _, key in ipairs { "build", "run" } do
    if plan[key] ~= nil and not is_list_of_texts(plan[key]) then return nil, "test.yaml: " .. key .. " must be a list of texts" end
  end
  return plan
end

local function lines(text)
  local list = {}
  for line in (text or ""):gmatch("[^\n]+") do list[#list + 1] = line end
  return list
end

local function from_directory(directory)
  local plan = { cases = {} }
  local base = fs.exists(directory .. "/cases") and directory .. "/cases" or directory
  local names = fs.list(base) or {}
  table.sort(names)
  for _, file in ipairs(names) do
    local name = file:match("^(.+)%.out$")
    if name then
      local stem = base .. "/" .. name
      local expected, message = fs.read(stem .. ".out")
      if not expected then return nil, message end
      plan.cases[#plan.cases + 1] = {
        name = name, stdout = expected, points = 1, compare = "trimmed", exit = 0,
        stdin = fs.exists(stem .. ".in") and fs.read(stem .. ".in") or nil,
        args = lines(fs.exists(stem .. ".args") and fs.read(stem .. ".args") or nil),
      }
    end
  end
  if #plan.cases == 0 then return nil, "there is neither a test.yaml nor a pair NAME.in, NAME.out" end
  return plan
end

local function smaller(a, b) return b and b < a and b or a end

-- The plan: cases, language, build and run commands, limits. nil and a message where the tests are not usable.
function M.read(directory, params)
  local plan, message
  for _, name in ipairs { "test.yaml", "test.yml" } do
    if not plan and not message and fs.exists(directory .. "/" .. name) then plan, message = from_yaml(directory .. "/" .. name) end
  end
  if not plan and not message then plan, message = from_directory(directory) end
  if not plan then return nil, message end
  plan.language = params.language or plan.language
  local language = languages.known[plan.language]
  if not language then return nil, "the language is not known: give `language` (c, cpp, python) in test.yaml or as a parameter" end
  plan.run = plan.run or language.run
  local limits = type(plan.limits) == "table" and plan.limits or {}
  plan.limits = {
    time   = smaller(params.time_limit, tonumber(limits.time)),
    memory = smaller(bytes(params.memory_limit), limits.memory and bytes(limits.memory)),
    output = smaller(bytes(params.output_limit), limits.output and bytes(limits.output)),
  }
  return plan
end

local function trim(text)
  return (text:gsub("[ \t\r]+\n", "\n"):gsub("%s+$", ""):gsub("^%s+", ""))
end

M.compare = {
  exact    = function(got, want) return got == want end,
  trimmed  = function(got, want) return trim(got) == trim(want) end,
  contains = function(got, want) return got:find(want, 1, true) ~= nil end,
}

local function shorten(text)
  return #text > 200 and text:sub(1, 200) .. "..." or text
end

local function judge(case, plan, result)
  if result.timed_out or result.signal == "SIGXCPU" then
    return false, ("stopped after %g s: it did not end"):format(plan.limits.time)
  end
  if result.truncated then return false, ("wrote more than %d bytes"):format(plan.limits.output) end
  if result.signal then return false, "ended by " .. result.signal end
  if result.code ~= case.exit then
    local said = result.stderr:match("[^\n]+")
    return false, ("exit status %d instead of %d%s"):format(result.code, case.exit, said and ": " .. shorten(said) or "")
  end
  if case.stdout and not M.compare[case.compare](result.stdout, case.stdout) then
    return false, ("expected %q, got %q"):format(shorten(case.stdout), shorten(result.stdout))
  end
  return true, "ok"
end

-- {name, passed, message, duration} of one case.
function M.run(case, plan, directory)
  local command = {}
  for _, word in ipairs(plan.run) do command[#command + 1] = word end
  for _, word in ipairs(case.args) do command[#command + 1] = word end
  local result, message = sandbox.run { command = command, directory = directory, stdin = case.stdin,
    time = plan.limits.time, memory = plan.limits.memory, output = plan.limits.output }
  if not result then return { name = case.name, passed = false, message = message, duration = 0 } end
  local passed
  passed, message = judge(case, plan, result)
  return { name = case.name, passed = passed, message = message, duration = math.floor(1000 * result.duration) / 1000 }
end

return M
