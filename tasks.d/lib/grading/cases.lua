-- Running one test case of a plan (grading/plan.lua) and saying what came of it.
local compare = require "grading.compare"
local sandbox = require "grading.sandbox"
local text    = require "grading.text"

local M = {}

local SHOWN_BYTES = 200

-- A program that a signal ended has exit code 128 + its number.
local SIGNALS = {
  [4]  = "an illegal instruction (SIGILL)",
  [6]  = "abort (SIGABRT)",
  [7]  = "a bus error (SIGBUS)",
  [8]  = "a division by zero or the like (SIGFPE)",
  [9]  = "SIGKILL",
  [11] = "a segmentation fault (SIGSEGV)",
  [13] = "a broken pipe (SIGPIPE)",
  [15] = "SIGTERM",
  [25] = "writing a file that is too large (SIGXFSZ)",
}

local function wrong_status(code, wanted, stderr)
  if SIGNALS[code - 128] then return "ended by " .. SIGNALS[code - 128] end
  local said = text.last_line(stderr)
  return ("exit status %d instead of %d%s"):format(code, wanted, said and ": " .. text.line(said, SHOWN_BYTES) or "")
end

-- nil: passed.
local function complaint(case, plan, result)
  if result.truncated then return ("wrote more than %d bytes"):format(plan.limits.output) end
  if result.timed_out then return ("stopped after %g s: it did not end"):format(plan.limits.time) end
  if result.signal then return "ended by " .. result.signal end
  if result.code ~= case.exit then return wrong_status(result.code, case.exit, result.stderr) end
  if not case.stdout or compare.known[case.compare](result.stdout, case.stdout) then return nil end
  return compare.difference(case.compare, result.stdout, case.stdout)
end

-- What a student reads of a case that failed.
function M.failed(case, message, duration)
  if case.hint then message = message .. "\nhint: " .. text.block((case.hint:gsub("%s+$", "")), 1000) end
  return { name = text.line(case.name, SHOWN_BYTES), passed = false, message = message, duration = duration }
end

-- {name, passed, message, duration} of one case. product: the tar file that the build left.
function M.run(case, plan, product)
  local command = {}
  for _, word in ipairs(plan.run) do command[#command + 1] = word end
  for _, word in ipairs(case.args) do command[#command + 1] = word end
  local result, message = sandbox.run { command = command, input = { product }, stdin = case.stdin,
    time = plan.limits.time, memory = plan.limits.memory, output = plan.limits.output }
  if not result then return M.failed(case, message, 0) end
  local duration = math.floor(1000 * result.duration) / 1000
  message = complaint(case, plan, result)
  if message then return M.failed(case, message, duration) end
  return { name = text.line(case.name, SHOWN_BYTES), passed = true, message = "ok", duration = duration }
end

return M
