-- Grades a student's submission: clones it and the tests, builds it, runs every test case in a sandbox, returns the score.
--
-- Nothing the submission does can hurt more than its own score: an endless loop, a fork bomb, a gigabyte of output or a missing file end as a
-- result; a repository or commit that is not there, or a machine that cannot sandbox, as a clear error. The format of the tests is in
-- lib/grading/cases.lua, the sandbox in lib/grading/sandbox.lua.
local cases      = require "grading.cases"
local languages  = require "grading.languages"
local repository = require "grading.repository"
local sandbox    = require "grading.sandbox"
local fs         = require "ctutor.fs"
local json       = require "ctutor.json"

local function stage(ctx, percent, name) ctx.progress(percent, { stage = name }) end

local function all_failed(test_cases, message)
  local list = json.array {}
  for i, case in ipairs(test_cases) do
    list[i] = { name = case.name, passed = false, message = message, duration = 0 }
  end
  return list
end

local function summary(test_cases, outcomes)
  local passed, score, points = 0, 0, 0
  for i, case in ipairs(test_cases) do
    points = points + case.points
    if outcomes[i].passed then
      passed = passed + 1
      score = score + case.points
    end
  end
  return {
    score = score,
    passed = passed,
    total = #test_cases,
    percentage = points > 0 and math.floor(1000 * score / points + 0.5) / 10 or 0,
    cases = outcomes,
  }
end

local function run_cases(ctx, plan, directory)
  local outcomes = json.array {}
  for i, case in ipairs(plan.cases) do
    outcomes[i] = cases.run(case, plan, directory)
    stage(ctx, 50 + 30 * i / #plan.cases, "testing")
  end
  return outcomes
end

return {
  name    = "student_testing",
  summary = "Grades a student's submission",
  queue   = "testing",
  timeout = "30m",
  retries = 0,
  params  = {
    repository   = { type = "string", minLength = 1, description = "path or URL of the submission's git repository" },
    commit       = { type = "string", optional = true, description = "commit, tag or branch to grade; default: the newest" },
    tests        = { type = "string", minLength = 1, description = "path or URL of the tests: a git repository or a directory" },
    language     = { type = "string", optional = true, enum = { "c", "cpp", "python" },
                     description = "default: what the tests say" },
    time_limit   = { type = "number", default = 5, exclusiveMinimum = 0, maximum = 600, description = "seconds for a test case" },
    memory_limit = { type = "string", default = "256M", pattern = "^[0-9]+[KMG]?$", description = "of each process" },
    output_limit = { type = "string", default = "64K", pattern = "^[0-9]+[KMG]?$", description = "of a test case" },
  },
  execute = function(ctx, params)
    local possible, reason = sandbox.is_possible()
    if not possible then ctx.fatal("this machine cannot run submissions safely: " .. reason) end
    local root = fs.tempdir()
    local submission, tests = root .. "/submission", root .. "/tests"

    stage(ctx, 10, "fetching the submission")
    local fetched, message = repository.fetch(params.repository, params.commit, submission)
    if not fetched then ctx.fatal("submission: " .. message) end

    stage(ctx, 20, "fetching the tests")
    fetched, message = repository.fetch(params.tests, nil, tests)
    if not fetched then ctx.fatal("tests: " .. message) end
    local plan
    plan, message = cases.read(tests, params)
    if not plan then ctx.fatal("tests: " .. message) end

    stage(ctx, 40, "building")
    local built
    built, message = languages.build(plan, submission)
    stage(ctx, 50, "built")

    local outcomes = built and run_cases(ctx, plan, submission) or all_failed(plan.cases, message)
    stage(ctx, 80, "scoring")
    local result = summary(plan.cases, outcomes)
    stage(ctx, 100, "done")
    return result
  end,
}
