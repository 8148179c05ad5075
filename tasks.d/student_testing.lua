-- Grades a student's submission: fetches it and the tests, builds it, runs every test case in a sandbox, returns the score.
--
-- Nothing the submission does can hurt more than its own score: an endless loop, a fork bomb, a gigabyte of output or a missing file end as a
-- result; a repository or commit that is not there, or a machine that cannot sandbox, as a clear error. The format of the tests is in
-- lib/grading/plan.lua, the sandbox in lib/grading/sandbox.lua.
local cases      = require "grading.cases"
local languages  = require "grading.languages"
local plans      = require "grading.plan"
local repository = require "grading.repository"
local sandbox    = require "grading.sandbox"
local fs         = require "ctutor.fs"
local json       = require "ctutor.json"

local function stage(ctx, percent, name) ctx.progress(percent, { stage = name }) end

-- The plan of the tests and the tar files to build: the submission and, over it, what the tests bring along in files/.
local function fetch(ctx, params, root)
  stage(ctx, 10, "fetching the submission")
  local input = { root .. "/submission.tar" }
  local done, message = repository.fetch(params.repository, params.commit, input[1])
  if not done then ctx.fatal("submission: " .. message) end

  stage(ctx, 20, "fetching the tests")
  local tests = root .. "/tests"
  done, message = repository.fetch(params.tests, nil, tests .. ".tar")
  if done then done, message = repository.unpack(tests .. ".tar", tests) end
  if done and fs.exists(tests .. "/files") then
    input[2] = root .. "/files.tar"
    done, message = repository.pack(tests .. "/files", input[2])
  end
  local plan
  if done then plan, message = plans.read(tests, params) end
  if not plan then ctx.fatal("tests: " .. message) end
  return plan, input
end

local function run_cases(ctx, plan, product)
  local outcomes = json.array {}
  for i, case in ipairs(plan.cases) do
    outcomes[i] = cases.run(case, plan, product)
    stage(ctx, 50 + 30 * i / #plan.cases, "testing")
  end
  return outcomes
end

local function all_failed(plan, message)
  local outcomes = json.array {}
  for i, case in ipairs(plan.cases) do outcomes[i] = cases.failed({ name = case.name }, message, 0) end
  return outcomes
end

local function summary(plan, outcomes)
  local passed, score, points = 0, 0, 0
  for i, case in ipairs(plan.cases) do
    points = points + case.points
    if outcomes[i].passed then
      passed = passed + 1
      score = score + case.points
    end
  end
  return {
    score      = score,
    passed     = passed,
    total      = #plan.cases,
    percentage = points > 0 and math.floor(1000 * score / points + 0.5) / 10 or 0,
    cases      = outcomes,
  }
end

return {
  name    = "student_testing",
  summary = "Grades a student's submission",
  queue   = "testing",
  timeout = "30m",
  retries = 0,
  params  = {
    repository   = { type = "string", minLength = 1, description = "the submission: absolute path or URL of a git repository, or path of a directory" },
    commit       = { type = "string", optional = true, minLength = 1, description = "commit, tag or branch to grade; default: the newest" },
    tests        = { type = "string", minLength = 1, description = "the tests: the same kinds of source" },
    language     = { type = "string", optional = true, enum = { "c", "cpp", "python" },
                     description = "default: what the tests say" },
    time_limit   = { type = "number", default = 5, exclusiveMinimum = 0, maximum = 600, description = "seconds for a test case" },
    memory_limit = { type = "string", default = "256M", pattern = "^[1-9][0-9]*[KMG]?$", description = "of each process" },
    output_limit = { type = "string", default = "64K", pattern = "^[1-9][0-9]*[KM]?$", description = "of a test case" },
  },
  execute = function(ctx, params)
    local possible, reason = sandbox.is_possible()
    if not possible then ctx.fatal("this machine cannot run submissions safely: " .. reason) end
    local root = fs.tempdir()
    local plan, input = fetch(ctx, params, root)

    stage(ctx, 40, "building")
    local product = root .. "/product.tar"
    local built, message = languages.build(plan, input, product)
    stage(ctx, 50, "testing")

    local outcomes = built and run_cases(ctx, plan, product) or all_failed(plan, message)
    stage(ctx, 80, "scoring")
    local result = summary(plan, outcomes)
    stage(ctx, 100, "done")
    return result
  end,
}
