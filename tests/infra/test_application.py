"""What every task, schedule and stack gets, in the small application and in the real one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from infra import bundles
from infra.app import build, new_app
from infra.settings import stage_settings
from ingress.manifest import load_manifest, load_payload_schemas
from ingress.platform_api.document import describe_api
from tradewind.tasks.registry import Registry

from .conftest import FIXTURE, LOCAL_CLOUD, Application, readable

ARN = "arn:<Partition>:{}:<Region>:<AccountId>:{}"


@pytest.fixture(params=["dev", "prod", "real"])
def deployed(request: pytest.FixtureRequest) -> Application:
    """Every stage on AWS that is synthesized."""
    found: Application = request.getfixturevalue(request.param)
    return found


def test_every_task_has_a_function_that_is_its_handler(deployed: Application) -> None:
    names = deployed.settings.names
    functions = {each["FunctionName"]: each for each in deployed.of_type("AWS::Lambda::Function")}
    for task in deployed.registry:
        function = functions[names.function(task.id)]
        assert function["Handler"] == task.handler
        assert function["Timeout"] == task.timeout.total_seconds()
        assert function["MemorySize"] == task.memory
        assert function["Description"] == task.description
        assert function["Architectures"] == ["arm64"]
        assert function["RecursiveLoop"] == "Allow"
        assert len(function["Layers"]) == 2 + len(task.layers)
        assert function["VpcConfig"]["SubnetIds"]


def test_every_task_has_a_fifo_queue_of_high_throughput(deployed: Application) -> None:
    names = deployed.settings.names
    for task in deployed.registry:
        lanes = [names.queue(task.id)] + ([names.backfill_queue(task.id)] if task.backfill else [])
        for lane in lanes:
            queue = deployed.one("AWS::SQS::Queue", QueueName=lane)
            assert queue["FifoQueue"] is True
            assert queue["DeduplicationScope"] == "messageGroup"
            assert queue["FifoThroughputLimit"] == "perMessageGroupId"
            assert (
                queue["VisibilityTimeout"] == task.visibility.total_seconds() > task.timeout.total_seconds()
            )
            assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
            assert queue["SqsManagedSseEnabled"] is True
            redrive = readable(queue["RedrivePolicy"])
            dead = ARN.format("sqs", names.dead_letters(task.domain))
            assert redrive == {"deadLetterTargetArn": dead, "maxReceiveCount": 1000}
            deployed.one("AWS::SQS::Queue", QueueName=names.dead_letters(task.domain))


def test_every_lane_is_mapped_to_its_function_with_partial_batches(deployed: Application) -> None:
    lanes = {}
    for stack, _, resource in deployed.everything:
        if resource["Type"] == "AWS::Lambda::EventSourceMapping":
            mapping = resource["Properties"]
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            resources = deployed.templates[stack]["Resources"]
            function = resources[mapping["FunctionName"]["Ref"]]["Properties"]["FunctionName"]
            source = mapping["EventSourceArn"]
            if "Fn::GetAtt" in source:
                queue = resources[source["Fn::GetAtt"][0]]["Properties"]["QueueName"]
            else:
                queue = readable(source).rsplit(":", 1)[-1]
            lanes[queue] = (function, mapping["ScalingConfig"]["MaximumConcurrency"], mapping["BatchSize"])
    names = deployed.settings.names
    expected = {}
    for task in deployed.registry:
        about = (names.function(task.id), task.concurrency, 1)
        expected[names.queue(task.id)] = about
        if task.backfill:
            expected[names.backfill_queue(task.id)] = about
        expected[names.dead_letters(task.domain)] = (names.function("ingress-dead-letter-intake"), 2, 10)
    expected[names.intake] = (names.function("ingress-intake"), 10, 10)
    assert lanes == expected


def test_every_function_and_lane_has_its_alarms(deployed: Application) -> None:
    alarms = {each["AlarmName"]: each for each in deployed.of_type("AWS::CloudWatch::Alarm")}
    names = deployed.settings.names
    topic = [ARN.format("sns", names.alarm_topic)]
    for function in deployed.of_type("AWS::Lambda::Function"):
        if function["FunctionName"] != names.function("ingress-migration-hook"):
            alarm = alarms[f"{function['FunctionName']}-errors"]
            assert (alarm["MetricName"], readable(alarm["AlarmActions"])) == ("Errors", topic)
    for task in deployed.registry:
        alarm = alarms[f"{names.of(task.id)}-age"]
        assert alarm["MetricName"] == "ApproximateAgeOfOldestMessage"
        assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": names.queue(task.id)}]
        assert (f"{names.of(task.id)}-backfill-age" in alarms) is task.backfill
        assert f"{names.of(task.domain)}-dead-waiting" in alarms
    assert alarms[names.of("late-orders")]["Threshold"] == 30_000
    assert alarms[names.of("ab-not-kept")]["MetricName"] == "AbRequestNotKept"
    assert alarms[names.of("touches-not-kept")]["MetricName"] == "TouchesNotKept"
    assert alarms[names.of("dead-letters")]["Threshold"] == 0
    assert alarms[names.of("schedules-dead-waiting")]["Threshold"] == 1
    assert alarms[names.of("intake-dead-waiting")]["Threshold"] == 1
    assert alarms[names.of("intake-age")]["Threshold"] == 15 * 60
    assert alarms[names.of("email-sending")]["Dimensions"] == [{"Name": "provider", "Value": "resend"}]


def test_the_intake_queue_loses_nothing_and_keeps_no_order(deployed: Application) -> None:
    names = deployed.settings.names
    queue = deployed.one("AWS::SQS::Queue", QueueName=names.intake)
    assert "FifoQueue" not in queue
    assert (queue["MessageRetentionPeriod"], queue["SqsManagedSseEnabled"]) == (14 * 24 * 3600, True)
    dead = ARN.format("sqs", names.intake_dead_letters)
    assert readable(queue["RedrivePolicy"]) == {"deadLetterTargetArn": dead, "maxReceiveCount": 1000}
    function = deployed.one("AWS::Lambda::Function", FunctionName=names.function("ingress-intake"))
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]


def test_logs_are_kept_for_a_set_time(dev: Application, prod: Application) -> None:
    for application, days in ((dev, 14), (prod, 30)):
        groups = application.of_type("AWS::Logs::LogGroup")
        assert {group["RetentionInDays"] for group in groups} == {days}
        named = {group["LogGroupName"] for group in groups}
        for function in application.of_type("AWS::Lambda::Function"):
            assert f"/aws/lambda/{function['FunctionName']}" in named


def test_every_schedule_starts_the_fan_out_or_its_own_machine(deployed: Application) -> None:
    names = deployed.settings.names
    schedules = {each["Name"]: each for each in deployed.of_type("AWS::Scheduler::Schedule")}
    expected = {schedule_id for schedule_id, _, _ in deployed.registry.schedules()}
    assert set(schedules) == expected | {"ingress-relay"}
    fan_out = ARN.format("lambda", f"function:{names.function('ingress-fan-out')}")
    for schedule_id, cron, task in deployed.registry.schedules():
        schedule = schedules[schedule_id]
        target = readable(schedule["Target"])
        machine = cron.machine and ARN.format("states", f"stateMachine:{names.machine(cron.machine)}")
        assert target["Arn"] == (machine or fan_out)
        assert json.loads(target["Input"]) == {
            "schedule": schedule_id,
            "task": task.id,
            "time": "<aws.scheduler.scheduled-time>",
        }
        assert target["DeadLetterConfig"] == {"Arn": ARN.format("sqs", names.schedule_dead_letters)}
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert schedule["GroupName"] == f"tradewind-{names.stage}"


def test_schedules_keep_their_zone_and_tenants_zones_are_looked_at_each_quarter_hour(
    dev: Application,
) -> None:
    schedules = {each["Name"]: each for each in dev.of_type("AWS::Scheduler::Schedule")}
    clocks = {
        name: (each["ScheduleExpression"], each["ScheduleExpressionTimezone"])
        for name, each in schedules.items()
    }
    assert clocks == {
        "bazaar-digest": ("cron(0/15 * * * ? *)", "UTC"),
        "bazaar-digest-monday": ("cron(30 9 ? * 2 *)", "America/New_York"),
        "bazaar-sweep": ("cron(*/5 * * * ? *)", "UTC"),
        "ingress-relay": ("rate(1 minute)", "UTC"),
    }


def test_no_stack_imports_from_another(deployed: Application) -> None:
    for stack, template in deployed.templates.items():
        assert "Fn::ImportValue" not in json.dumps(template), stack
        assert not any("Export" in output for output in template.get("Outputs", {}).values()), stack


def test_what_a_stack_reads_from_ssm_an_earlier_one_publishes(deployed: Application) -> None:
    published = {each["Name"] for each in deployed.of_type("AWS::SSM::Parameter")}
    read = {
        parameter["Default"]
        for template in deployed.templates.values()
        for parameter in template.get("Parameters", {}).values()
        if parameter["Type"].startswith("AWS::SSM::Parameter::Value<")
        and "cdk-bootstrap" not in parameter["Default"]
    }
    assert read
    assert read <= published


def test_stacks_stay_far_below_cloudformations_limit(deployed: Application) -> None:
    sizes = {stack: len(template["Resources"]) for stack, template in deployed.templates.items()}
    assert max(sizes.values()) < 200, sizes


@pytest.mark.parametrize(("task", "resources"), [("bazaar-commission", 8), ("bazaar-save-order", 12)])
def test_a_task_takes_eight_resources_and_a_backfill_lane_four_more(
    dev: Application, task: str, resources: int
) -> None:
    prefix = task.replace("-", "")
    assert sum(logical_id.startswith(prefix) for _, logical_id, _ in dev.everything) == resources


def test_a_stack_beyond_the_limit_is_refused_at_synth(fixture_registry: Registry) -> None:
    app = new_app(context={"@aws-cdk/core:stackResourceLimit": 40})
    build(app, stage_settings("dev", {}), fixture_registry, FIXTURE)
    with pytest.raises(RuntimeError, match="greater than allowed maximum of 40"):
        app.synth()


def test_refuses_to_deploy_without_a_built_layer(
    fixture_registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nothing_built = tmp_path_factory.mktemp("nothing-built")
    monkeypatch.setattr(bundles, "layer_folder", lambda layer: nothing_built / layer)
    folder = tmp_path_factory.mktemp("cdk-unbuilt")
    app = new_app(str(folder))
    build(app, stage_settings("dev", {}), fixture_registry, FIXTURE)
    app.synth()
    for stack in ("network", "ingress", "bazaar-orders", "bazaar-digest"):
        rules = json.loads((folder / f"tradewind-dev-{stack}.template.json").read_text())["Rules"]
        assertion = rules["DependenciesAreBuilt"]["Assertions"][0]
        assert assertion["Assert"] == {"Fn::Equals": ["missing", "built"]}
        assert "make build" in assertion["AssertDescription"]
        assert ("StatisticsAreBuilt" in rules) is (stack == "bazaar-digest")


def test_a_layer_that_a_task_asks_for_is_its_own_alone(dev: Application) -> None:
    names = {
        logical_id: resource["Properties"]["LayerName"].removeprefix("tradewind-dev-")
        for _, logical_id, resource in dev.everything
        if resource["Type"] == "AWS::Lambda::LayerVersion"
    }
    assert {name for name in names.values() if "statistics" in name} == {"bazaar-digest-statistics"}
    layers = {
        each["FunctionName"]: [names[layer["Ref"]].rsplit("-", 1)[-1] for layer in each["Layers"]]
        for each in dev.of_type("AWS::Lambda::Function")
        if "bazaar-digest" in each["FunctionName"] or "bazaar-sweep" in each["FunctionName"]
    }
    assert layers == {
        "tradewind-dev-bazaar-digest": ["dependencies", "statistics", "kernel"],
        "tradewind-dev-bazaar-sweep": ["dependencies", "kernel"],
    }


@pytest.mark.parametrize("stage", ["dev", "local"])
def test_refuses_a_layer_that_is_not_there(stage: str, fixture_registry: Registry) -> None:
    registry = Registry()
    registry.add(replace(fixture_registry.get("bazaar-digest"), layers=("astrology",)))
    with pytest.raises(
        ValueError, match="no layer 'astrology'; known: charts, columnar, dependencies, sftp, statistics"
    ):
        build(new_app(), stage_settings(stage, LOCAL_CLOUD), registry, FIXTURE)


def test_the_local_stage_runs_the_work_trees_kernel_on_the_projects_interpreter(local: Application) -> None:
    function = local.one("AWS::Lambda::Function", FunctionName="tradewind-local-bazaar-commission")
    assert function["Runtime"] == "provided.al2023"
    assert "Layers" not in function
    assert "VpcConfig" not in function
    variables = readable(function["Environment"]["Variables"])
    assert variables["PYTHONPATH"] == "the-kernel"
    assert variables["TRADEWIND_PYTHON"] == "the-python"
    assert variables["AWS_ENDPOINT_URL"] == "the-aws_endpoint_url"
    assert variables["TRADEWIND_DATABASE_URL"] == "the-app_database_url"
    assert variables["TRADEWIND_SHOPIFY_URL"] == "the-sandbox_url/shopify/{shop}"
    api = local.one("AWS::ApiGatewayV2::Api")
    assert api["Tags"]["ms-custom-id"] == "tradewind"


@pytest.mark.parametrize(
    ("function", "url"),
    [
        ("bazaar-commission", "the-app_database_url"),
        ("bazaar-sweep", "the-platform_database_url"),
        ("ingress-receiver", "the-platform_database_url"),
        ("ingress-api", "the-platform_database_url"),
        ("ingress-migrate", "the-owner_database_url"),
    ],
)
def test_each_function_knows_one_database_role(local: Application, function: str, url: str) -> None:
    found = local.one("AWS::Lambda::Function", FunctionName=f"tradewind-local-{function}")
    variables = found["Environment"]["Variables"]
    assert variables["TRADEWIND_DATABASE_URL"] == url
    assert json.dumps(variables).count("database_url") == 1


def test_no_password_stands_in_a_template_on_aws(deployed: Application) -> None:
    for function in deployed.of_type("AWS::Lambda::Function"):
        variables = function.get("Environment", {}).get("Variables", {})
        assert "TRADEWIND_DATABASE_URL" not in variables
    cluster = deployed.one("AWS::RDS::DBCluster")
    password = readable(cluster["MasterUserPassword"])
    assert re.fullmatch(r"\{\{resolve:secretsmanager:<[A-Za-z0-9]+>:SecretString:password\}\}", password)


def test_the_workflows_starter_waits_longer_than_the_machine_runs(dev: Application) -> None:
    function = dev.one("AWS::Lambda::Function", FunctionName="tradewind-dev-bazaar-order-created")
    assert function["Environment"]["Variables"]["TRADEWIND_WORKFLOW_START_TIMEOUT_S"] == "43"


@pytest.mark.parametrize(
    ("name", "timeout", "reserved"),
    [
        ("receiver", 5, 100),
        ("api", 8, 50),
        ("experiments", 8, 50),
        ("collect", 8, 50),
        ("unsubscribe", 8, None),
        ("fan-out", 60, None),
        ("relay", 50, None),
        ("intake", 60, None),
        ("dead-letter-intake", 60, None),
        ("migrate", 300, None),
        ("admin", 60, None),
    ],
)
def test_ingress_functions(dev: Application, name: str, timeout: int, reserved: int | None) -> None:
    function = dev.one("AWS::Lambda::Function", FunctionName=f"tradewind-dev-ingress-{name}")
    assert function["Handler"] == f"ingress.{name.replace('-', '_')}.handle"
    assert function["Timeout"] == timeout
    assert function.get("ReservedConcurrentExecutions") == reserved


def test_each_route_leads_to_its_function_and_services_are_authorized_by_iam(dev: Application) -> None:
    integrations = {
        logical_id: readable(resource["Properties"]["IntegrationUri"])
        for _, logical_id, resource in dev.everything
        if resource["Type"] == "AWS::ApiGatewayV2::Integration"
    }
    found = {}
    for route in dev.of_type("AWS::ApiGatewayV2::Route"):
        target = readable(route["Target"])
        [function] = [uri for logical_id, uri in integrations.items() if logical_id in target]
        [kind] = [
            kind
            for kind in ("receiver", "experiments", "collect", "unsubscribe", "api")
            if kind in function.rsplit("/", 1)[-1]
        ][:1]
        found[route["RouteKey"]] = (kind, route["AuthorizationType"])
    assert found == {
        "POST /webhooks/{provider}": ("receiver", "NONE"),
        "POST /webhooks/{provider}/{app}": ("receiver", "NONE"),
        "POST /events/{type}": ("api", "NONE"),
        "POST /tasks/{id}/runs": ("api", "NONE"),
        "GET /runs/{id}": ("api", "NONE"),
        "GET /openapi.json": ("api", "NONE"),
        "GET /unsubscribe/{token}": ("unsubscribe", "NONE"),
        "POST /unsubscribe/{token}": ("unsubscribe", "NONE"),
        "POST /ab/events": ("experiments", "NONE"),
        "GET /ab/assignments": ("experiments", "NONE"),
        "POST /ab/assignments": ("experiments", "NONE"),
        "POST /collect": ("collect", "NONE"),
        "POST /platform/events/{type}": ("api", "AWS_IAM"),
        "POST /platform/tasks/{id}/runs": ("api", "AWS_IAM"),
        "GET /platform/runs/{id}": ("api", "AWS_IAM"),
    }
    cors = dev.one("AWS::ApiGatewayV2::Api")["CorsConfiguration"]
    assert (cors["AllowOrigins"], cors.get("AllowCredentials")) == (["*"], None)
    stage = dev.one("AWS::ApiGatewayV2::Stage")
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 500
    assert not re.search("ip|header|agent", stage["AccessLogSettings"]["Format"], re.IGNORECASE)


def test_document_describes_the_routes_and_no_others(dev: Application) -> None:
    """A path for each event type, task and door, each of which one route of the template leads in."""
    routes = {each["RouteKey"] for each in dev.of_type("AWS::ApiGatewayV2::Route")}
    patterns = {route: re.compile(re.sub(r"\{\w+\}", "[^/]+", route)) for route in routes}
    described = describe_api(load_manifest(), load_payload_schemas())
    taken: set[str] = set()
    for path, operations in described["paths"].items():
        for method in operations:
            leading = [
                route for route, pattern in patterns.items() if pattern.fullmatch(f"{method.upper()} {path}")
            ]
            assert len(leading) == 1, path
            taken |= set(leading)
    assert taken == set(patterns)


def test_production_keeps_its_data(dev: Application, prod: Application) -> None:
    def policies(application: Application) -> dict[str, str]:
        return {
            resource["Type"]: resource["DeletionPolicy"]
            for _, _, resource in application.everything
            if resource["Type"] in {"AWS::KMS::Key", "AWS::S3::Bucket", "AWS::RDS::DBCluster"}
        }

    kept = {"AWS::KMS::Key": "Retain", "AWS::S3::Bucket": "Retain", "AWS::RDS::DBCluster": "Snapshot"}
    assert policies(prod) == kept
    assert policies(dev) == dict.fromkeys(kept, "Delete")
    assert prod.one("AWS::RDS::DBCluster")["DeletionProtection"] is True


def test_payloads_end_after_thirty_days(prod: Application) -> None:
    rules = prod.one("AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]
    assert [rule["ExpirationInDays"] for rule in rules] == [30]


def test_stages_differ_in_name_and_size_only(synthesize: Callable[[str], Application]) -> None:
    dev, prod = synthesize("dev"), synthesize("prod")

    def kinds(application: Application) -> list[str]:
        readers = {"reader"}
        return sorted(
            resource["Type"]
            for _, logical_id, resource in application.everything
            if not any(name in logical_id for name in readers) and "EC2" not in resource["Type"]
        )

    assert kinds(dev) == kinds(prod)
