"""The administrative API in JSON: every operation, whether answers are what the OpenAPI document says, and who may what."""

import json
import time
from urllib.parse import quote, urlencode

import jsonschema
import pytest
from botocore.exceptions import ClientError
from openapi_spec_validator import OpenAPIV31SpecValidator

from support import clients, raw

PREFIX = "/_ninefold/v1"
S3_ONLY = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
PATIENCE = 120


def policy(*statements):
    """A policy's document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(account):
    """A document that has an account's users take a role."""
    who = {"AWS": f"arn:aws:iam::{account}:root"}
    return policy({"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"})


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem}")
        self.status, self.problem = status, problem


class Api:
    """Calls operations by their names, and holds what they answer against the document."""

    def __init__(self, server, keys=None, token=None, used=None):
        self.server, self.keys, self.token = server, keys or (None, None), token
        self.used = set() if used is None else used
        self.document = json.loads(raw.send(server, "GET", f"{PREFIX}/openapi.json").body)
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }

    def as_user(self, keys, token=None):
        """The same for somebody else."""
        return Api(self.server, keys, token, self.used)

    def check(self, schema, value):
        """That a value is what the document says."""
        whole = {"$ref": "#/answer", "answer": schema, "components": self.document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)

    def send(self, name, body=None, query=None, **names):
        """The answer to an operation: status and JSON."""
        method, path, operation = self.operations[name]
        for key, value in names.items():
            path = path.replace(f"{{{key}}}", quote(value, safe=""))
        assert "{" not in path, path
        target = PREFIX + path + (f"?{urlencode(query)}" if query else "")
        headers, data = {}, b""
        if body is not None:
            headers["content-type"], data = "application/json", json.dumps(body).encode()
            self.check(operation["requestBody"]["content"]["application/json"]["schema"], body)
        if self.token:
            headers["x-amz-security-token"] = self.token
        access_key, secret_key = self.keys
        answer = raw.signed(self.server, method, target, headers, data, access_key=access_key, secret_key=secret_key)
        self.used.add(name)
        said = json.loads(answer.body) if answer.body else None
        if answer.status >= 300:
            assert answer.headers["content-type"] == "application/problem+json", answer
            self.check(
                self.document["components"]["responses"]["Problem"]["content"]["application/problem+json"]["schema"], said
            )
            return answer.status, said
        response = operation["responses"][str(answer.status)]
        if "content" in response:
            self.check(response["content"]["application/json"]["schema"], said)
        else:
            assert said is None, answer
        return answer.status, said

    def __call__(self, name, body=None, query=None, **names):
        """What an operation answers, which must succeed."""
        status, said = self.send(name, body, query, **names)
        if status >= 300:
            raise Refused(status, said)
        return said

    def refused(self, name, body=None, query=None, **names):
        """Status and code of an operation that must be refused."""
        status, said = self.send(name, body, query, **names)
        assert status >= 300, (status, said)
        return status, said["code"]


@pytest.fixture(scope="module")
def used(server):
    """The operations that were used on a server."""
    return set()


@pytest.fixture(scope="module")
def api(server, used):
    """The API, as root."""
    return Api(server, used=used)


@pytest.fixture
def user(api, name):
    """A user with an access key."""
    api("CreateUser", {}, user=name)
    key = api("CreateKey", {"user": name})
    yield name, (key["access_key"], key["secret_key"])
    api("DeleteUser", query={"whole": "true"}, user=name)


def allow(api, who, *actions, resource="*"):
    """Lets a user do something."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    api("PutUserPolicy", policy(statement), user=who, policy="allow")


class TestDocument:
    def test_is_one(self, api):
        assert not list(OpenAPIV31SpecValidator(api.document).iter_errors())

    def test_names_an_action_for_each_operation(self, api):
        for name, (_, _, operation) in api.operations.items():
            if name != "GetDocument":
                assert operation["x-ninefold-action"] == f"ninefold:{name}" and operation["x-ninefold-resources"]


class TestUsers:
    def test_are_made_once_and_told_as_they_are(self, api, name):
        new = {"path": "/a/", "description": "for tests", "tags": {"team": "red"}}
        status, made = api.send("CreateUser", new, user=name)
        assert status == 201 and made["arn"].endswith(f":user/a/{name}") and made["tags"] == {"team": "red"}
        assert api.send("CreateUser", new, user=name) == (200, made)
        assert api.refused("CreateUser", {}, user=name) == (409, "EntityAlreadyExists")
        assert api.refused("CreateUser", new, user=name.upper()) == (409, "EntityAlreadyExists")
        assert api("GetUser", user=name) == made
        changed = api("UpdateUser", {"name": f"{name}-2", "tags": {}}, user=name)
        assert (changed["name"], changed["tags"], changed["path"]) == (f"{name}-2", {}, "/a/")
        assert api.refused("GetUser", user=name) == (404, "NoSuchEntity")
        api("DeleteUser", user=f"{name}-2")
        assert api.refused("DeleteUser", user=f"{name}-2") == (404, "NoSuchEntity")

    def test_are_listed_by_the_page(self, api, name):
        names = [f"{name}-{letter}" for letter in "abcde"]
        for each in names:
            api("CreateUser", {}, user=each)
        seen, after = [], name
        while after:
            page = api("ListUsers", query={"limit": 2, "after": after})
            seen += [user["name"] for user in page["items"]]
            after = page.get("next")
        assert [each for each in seen if each.startswith(f"{name}-")] == names
        assert api.refused("ListUsers", query={"limit": 0}) == (400, "ValidationError")
        for each in names:
            api("DeleteUser", user=each)

    def test_have_policies(self, server, api, user, name):
        who, keys = user
        s3 = clients.service(server, "s3", keys)
        api("AttachUserPolicy", user=who, policy="readwrite")
        api("AttachUserPolicy", user=who, policy="readwrite")
        assert s3.list_buckets()["Buckets"] is not None
        assert api("GetUser", user=who)["attached"] == ["readwrite"]
        api("DetachUserPolicy", user=who, policy="readwrite")
        assert api.refused("DetachUserPolicy", user=who, policy="readwrite") == (404, "NoSuchEntity")
        with pytest.raises(ClientError):
            s3.list_buckets()
        assert api.send("PutUserPolicy", policy(S3_ONLY), user=who, policy="own")[0] == 201
        assert api.send("PutUserPolicy", policy(S3_ONLY), user=who, policy="own")[0] == 200
        assert api("GetUserPolicy", user=who, policy="own") == policy(S3_ONLY)
        s3.list_buckets()
        assert api("PutUserPermissionsBoundary", user=who, policy="writeonly")["boundary"].endswith(":policy/writeonly")
        with pytest.raises(ClientError):
            s3.list_buckets()
        api("DeleteUserPermissionsBoundary", user=who)
        s3.list_buckets()
        api("DeleteUserPolicy", user=who, policy="own")
        assert api.refused("GetUserPolicy", user=who, policy="own") == (404, "NoSuchEntity")
        assert api.refused("PutUserPolicy", policy({"Effect": "Maybe"}), user=who, policy="own") == (
            400,
            "MalformedPolicyDocument",
        )
        assert api.refused("DeleteUser", user=who) == (409, "DeleteConflict")


class TestGroups:
    def test_have_users_and_policies(self, server, api, user, name):
        who, keys = user
        api("CreateGroup", {"description": "all of them"}, group=name)
        assert name in [group["name"] for group in api("ListGroups", query={"limit": 1000})["items"]]
        api("AddUserToGroup", group=name, user=who)
        assert api("GetGroup", group=name)["users"] == [who] and api("GetUser", user=who)["groups"] == [name]
        api("AttachGroupPolicy", group=name, policy="readonly")
        api("PutGroupPolicy", policy(S3_ONLY), group=name, policy="own")
        assert api("GetGroupPolicy", group=name, policy="own") == policy(S3_ONLY)
        s3 = clients.service(server, "s3", keys)
        s3.list_buckets()
        api("DisableGroup", group=name)
        assert api("GetGroup", group=name)["enabled"] is False
        with pytest.raises(ClientError):
            s3.list_buckets()
        api("EnableGroup", group=name)
        s3.list_buckets()
        api("DisableGroup", group=name)
        api("DeleteGroupPolicy", group=name, policy="own")
        api("DetachGroupPolicy", group=name, policy="readonly")
        assert api("UpdateGroup", {"description": "none"}, group=name)["description"] == "none"
        assert api.refused("DeleteGroup", group=name) == (409, "DeleteConflict")
        api("RemoveUserFromGroup", group=name, user=who)
        assert api.refused("RemoveUserFromGroup", group=name, user=who) == (404, "NoSuchEntity")
        api("DeleteGroup", group=name)
        assert api.refused("CreateGroup", {"tags": {"a": "b"}}, group=name) == (501, "NotImplemented")


class TestRoles:
    def test_are_taken(self, server, api, user, name):
        who, keys = user
        account = api("GetUser", user=who)["arn"].split(":")[4]
        made = api("CreateRole", {"trust": trust(account), "max_session": 7200, "boundary": "readwrite"}, role=name)
        assert (made["max_session"], made["trust"]) == (7200, trust(account))
        assert name in [role["name"] for role in api("ListRoles", query={"limit": 1000})["items"]]
        api(
            "PutRolePolicy",
            policy(S3_ONLY, {"Effect": "Allow", "Action": "ninefold:*", "Resource": "*"}),
            role=name,
            policy="own",
        )
        allow(api, who, "sts:AssumeRole")
        sts = clients.service(server, "sts", keys)
        got = sts.assume_role(RoleArn=made["arn"], RoleSessionName="me")["Credentials"]
        session = (got["AccessKeyId"], got["SecretAccessKey"])
        clients.service(server, "s3", session, got["SessionToken"]).list_buckets()
        as_role = api.as_user(session, got["SessionToken"])
        assert as_role.refused("GetRole", role=name) == (403, "AccessDenied"), "the boundary is about S3 alone"
        api("DeleteRolePermissionsBoundary", role=name)
        assert as_role("GetRole", role=name)["boundary"] is None
        api("PutRolePermissionsBoundary", role=name, policy="readwrite")
        assert api("UpdateRoleTrust", {"trust": trust("111122223333")}, role=name)["max_session"] == 7200
        with pytest.raises(ClientError):
            sts.assume_role(RoleArn=made["arn"], RoleSessionName="me")
        assert api("UpdateRole", {"description": "of nobody"}, role=name)["description"] == "of nobody"
        assert api("GetRolePolicy", role=name, policy="own")["Statement"][0] == S3_ONLY
        api("AttachRolePolicy", role=name, policy="readonly")
        api("DetachRolePolicy", role=name, policy="readonly")
        api("DeleteRolePolicy", role=name, policy="own")
        api("DeleteRole", role=name)
        # Shorter than any, and a trust that trusts nobody in particular.
        assert api.refused("CreateRole", {"trust": trust(account), "max_session": 5}, role=name) == (400, "ValidationError")
        assert api.refused("CreateRole", {"trust": policy(S3_ONLY)}, role=name) == (400, "MalformedPolicyDocument")


class TestPolicies:
    def test_have_versions(self, api, user, name):
        new = {"document": policy(S3_ONLY), "description": "d"}
        status, made = api.send("CreatePolicy", new, policy=name)
        assert status == 201 and made["versions"] == ["v1"] and made["document"] == policy(S3_ONLY)
        assert api.send("CreatePolicy", new, policy=name) == (200, made)
        assert api.refused("CreatePolicy", {"document": policy(S3_ONLY)}, policy=name) == (409, "EntityAlreadyExists")
        other = policy({**S3_ONLY, "Sid": "other"})
        version = api("CreatePolicyVersion", {"document": other, "is_default": True}, policy=name)
        assert (version["version"], version["is_default"]) == ("v2", True)
        assert api("GetPolicyVersion", policy=name, version="v1")["is_default"] is False
        api("SetDefaultPolicyVersion", policy=name, version="v1")
        assert api("GetPolicy", policy=name)["document"] == policy(S3_ONLY)
        api("DeletePolicyVersion", policy=name, version="v2")
        assert api.refused("DeletePolicyVersion", policy=name, version="v1") == (409, "DeleteConflict")
        assert api.refused("GetPolicyVersion", policy=name, version="2") == (400, "ValidationError")
        api("AttachUserPolicy", user=user[0], policy=name)
        assert api("GetPolicy", policy=name)["attached"] == [f"user/{user[0]}"]
        assert name in [each["name"] for each in api("ListPolicies", query={"limit": 1000})["items"]]
        assert api.refused("DeletePolicy", policy=name) == (409, "DeleteConflict")
        api("DeletePolicy", query={"detach": "true"}, policy=name)

    def test_are_read_to_the_letter(self, server, api, name):
        """A name that is there twice would be read one way here and another way there."""
        twice = json.dumps({"document": policy(S3_ONLY)}).replace('"Effect"', '"Effect": "Deny", "Effect"')
        headers = {"content-type": "application/json"}
        answer = raw.signed(server, "PUT", f"{PREFIX}/policies/{name}", headers, twice.encode())
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "MalformedPolicyDocument")


class TestKeys:
    def test_come_and_go(self, server, api, user):
        who, keys = user
        key = api("GetKey", key=keys[0])
        assert (key["user"], key["active"], key["expires"]) == (who, True, None)
        assert [each["access_key"] for each in api("ListKeys", query={"user": who})["items"]] == [keys[0]]
        sts = clients.service(server, "sts", keys)
        sts.get_caller_identity()
        assert api("UpdateKey", {"active": False}, key=keys[0])["active"] is False
        with pytest.raises(ClientError):
            sts.get_caller_identity()
        end = int(time.time() * 1000) + 3600_000
        changed = api(
            "UpdateKey", {"active": True, "policy": policy(S3_ONLY), "expires": end, "description": "x"}, key=keys[0]
        )
        assert (changed["expires"], changed["policy"], changed["description"]) == (end, policy(S3_ONLY), "x")
        changed = api("UpdateKey", {"policy": None, "expires": None}, key=keys[0])
        assert (changed["expires"], changed["policy"]) == (None, None)
        second = api("CreateKey", {"user": who, "secret_key": "a secret of one's own choice", "expires": end})
        assert "secret_key" not in second
        api("DeleteKey", key=second["access_key"])
        assert api.refused("DeleteKey", key=second["access_key"]) == (404, "NoSuchEntity")
        assert api.refused("CreateKey", {"user": who, "expires": 1}) == (400, "ValidationError")
        assert api.refused("CreateKey", {"user": who, "access_key": server.access_key}) == (400, "ValidationError")
        assert api.refused("CreateKey", {"user": "nobody"}) == (404, "NoSuchEntity")

    def test_that_are_limited_make_none_that_is_not(self, api, user):
        who, keys = user
        allow(api, who, "ninefold:*Key", "s3:*")
        mine = policy({"Effect": "Allow", "Action": "ninefold:*Key", "Resource": "*"})
        limited = api("CreateKey", {"user": who, "policy": mine})
        own = api.as_user((limited["access_key"], limited["secret_key"]))
        assert own.refused("CreateKey", {"user": who, "policy": policy(S3_ONLY)}) == (403, "AccessDenied")
        assert own.refused("UpdateKey", {"policy": None}, key=limited["access_key"]) == (403, "AccessDenied")
        made = own("CreateKey", {"user": who})
        assert api("GetKey", key=made["access_key"])["policy"] == mine
        root = api("CreateKey", {})
        allow(api, who, "ninefold:*")
        everything = api.as_user(keys)
        assert everything.refused("CreateKey", {}) == (403, "AccessDenied"), "a key of the account itself"
        assert everything.refused("UpdateKey", {"active": False}, key=root["access_key"]) == (403, "AccessDenied")
        api("DeleteKey", key=root["access_key"])


class TestAccounts:
    def test_are_made_changed_and_removed(self, server, api, name):
        made = api("CreateAccount", {"name": name, "email": f"{name}@Example.com"})
        theirs = (made["key"]["access_key"], made["key"]["secret_key"])
        assert made["email"] == f"{name}@example.com" and not made["own"]
        assert api.refused("CreateAccount", {"name": name.upper()}) == (409, "EntityAlreadyExists")
        assert made["id"] in [each["id"] for each in api("ListAccounts", query={"limit": 1000})["items"]]
        assert api("GetAccount", account=name)["keys"] == [theirs[0]]
        blocked = api(
            "UpdateAccount", {"email": None, "public_access_block": {"block_public_acls": True}}, account=made["id"]
        )
        assert blocked["email"] is None and blocked["public_access_block"]["block_public_acls"]

        # They administer what is theirs, and nobody else's.
        own = api.as_user(theirs)
        own("CreateUser", {}, user="alice")
        assert own("GetUser", user="alice")["arn"].split(":")[4] == made["id"]
        assert own("GetUser", query={"account": made["id"]}, user="alice")
        assert own.refused("GetUser", query={"account": "root"}, user="alice") == (403, "AccessDenied")
        for operation in ["ListAccounts", "GetStatus", "ListVolumes", "ListJobs", "GetUsage", "ListSnapshots"]:
            assert own.refused(operation) == (403, "AccessDenied")
        assert own.refused("GetAccount", account=made["id"]) == (403, "AccessDenied")
        assert api("GetUser", query={"account": name}, user="alice")
        assert api.refused("GetUser", user="alice") == (404, "NoSuchEntity")
        assert api.refused("GetUser", query={"account": "nobody"}, user="alice") == (404, "NoSuchEntity")
        key = api("CreateKey", {}, query={"account": name})
        clients.service(server, "s3", (key["access_key"], key["secret_key"])).list_buckets()

        assert api.refused("DeleteAccount", account=name) == (409, "DeleteConflict")
        own("DeleteUser", user="alice")
        api("DeleteAccount", account=name)
        assert api.refused("GetAccount", account=made["id"]) == (404, "NoSuchEntity")
        assert api.refused("DeleteAccount", account="root") == (409, "DeleteConflict")


class TestPermissions:
    def test_a_user_may_what_his_policies_allow_and_nothing_else(self, api, user, name):
        who, keys = user
        own = api.as_user(keys)
        assert own.refused("GetUser", user=who) == (403, "AccessDenied")
        itself = api("GetUser", user=who)["arn"]
        allow(api, who, "ninefold:GetUser", "ninefold:CreateKey", resource=itself)
        assert own("GetUser", user=who)["name"] == who
        assert own("CreateKey", {"user": who})["secret_key"]
        assert own.refused("GetUser", user="nobody") == (403, "AccessDenied"), "who is there is not told"
        assert own.refused("UpdateUser", {"path": "/x/"}, user=who) == (403, "AccessDenied")
        assert own.refused("CreateUser", {}, user=f"{name}-x") == (403, "AccessDenied")
        assert own.refused("ListUsers") == (403, "AccessDenied")
        allow(api, who, "iam:*", "admin:*", "s3:*")
        assert own.refused("GetUser", user=who) == (403, "AccessDenied"), "its actions are its own"
        account = itself.split(":")[4]
        allow(api, who, "ninefold:UpdateUser", resource=f"arn:aws:iam::{account}:user/{who}")
        assert own.refused("UpdateUser", {"path": "/x/"}, user=who) == (403, "AccessDenied"), "of what it becomes, too"

    def test_conditions_are_about_policies(self, api, user):
        who, keys = user
        own, account = api.as_user(keys), api("GetUser", user=who)["arn"].split(":")[4]
        only = {"StringEquals": {"iam:PolicyARN": f"arn:aws:iam::{account}:policy/readonly"}}
        statement = {"Effect": "Allow", "Action": "ninefold:AttachUserPolicy", "Resource": "*", "Condition": only}
        api("PutUserPolicy", policy(statement), user=who, policy="some")
        assert own.refused("AttachUserPolicy", user=who, policy="consoleAdmin") == (403, "AccessDenied")
        own("AttachUserPolicy", user=who, policy="READONLY")

    def test_conditions_know_a_policy_by_whatever_name_it_is_asked_for(self, server, api, user):
        who, keys = user
        own, account = api.as_user(keys), api("GetUser", user=who)["arn"].split(":")[4]
        iam, aws = clients.service(server, "iam"), "arn:aws:iam::aws:policy/IAMFullAccess"
        iam.attach_user_policy(UserName=who, PolicyArn=aws)
        iam.detach_user_policy(UserName=who, PolicyArn=aws)
        but = {"StringEquals": {"iam:PolicyARN": [aws, f"arn:aws:iam::{account}:policy/writeonly"]}}
        every = {"Effect": "Allow", "Action": "ninefold:AttachUserPolicy", "Resource": "*"}
        api("PutUserPolicy", policy(every, {**every, "Effect": "Deny", "Condition": but}), user=who, policy="some")
        for name in ["IAMFullAccess", "iamfullaccess", aws, "writeonly", "WriteOnly"]:
            assert own.refused("AttachUserPolicy", user=who, policy=name) == (403, "AccessDenied"), name
        own("AttachUserPolicy", user=who, policy="readonly")

    def test_sessions_of_oneself_administer_nothing(self, server, api):
        got = clients.service(server, "sts").get_session_token()["Credentials"]
        session = api.as_user((got["AccessKeyId"], got["SecretAccessKey"]), got["SessionToken"])
        assert session.refused("ListUsers") == (403, "AccessDenied")

    def test_built_in_policies_have_it(self, api, user):
        who, keys = user
        own = api.as_user(keys)
        api("AttachUserPolicy", user=who, policy="diagnostics")
        assert own("GetStatus")["volumes"]
        assert own.refused("StartJob", job="heal") == (403, "AccessDenied")
        api("AttachUserPolicy", user=who, policy="consoleAdmin")
        assert own("ListAccounts")["items"]

    def test_bodies_are_read_strictly(self, server, api, name):
        def status(text, target=f"{PREFIX}/users/{name}", kind="application/json; charset=utf-8"):
            answer = raw.signed(server, "PUT", target, {"content-type": kind}, text)
            return answer.status, json.loads(answer.body)["code"]

        for text in [
            b"",
            b"{",
            b"[]",
            b'"x"',
            b'{"colour":"red"}',
            b'{"path":"/","path":"/"}',
            b'{"path":1}',
            b"{} {}",
            b"\xff",
        ]:
            assert status(text) == (400, "MalformedBody"), text
        assert status(b"{}", f"{PREFIX}/users/a%20b") == (400, "ValidationError")
        assert status(b'{"path":"x"}') == (400, "ValidationError")
        assert status(b"{}", f"{PREFIX}/users/{name}?colour=red") == (400, "ValidationError")
        assert status(b"{}", kind="text/plain") == (415, "UnsupportedMediaType")
        assert status(b" " * (2 << 20)) == (400, "EntityTooLarge")
        answer = raw.signed(server, "POST", f"{PREFIX}/users/{name}", {}, b"")
        assert answer.status == 405 and set(answer.headers["allow"].split(", ")) == {"GET", "PUT", "PATCH", "DELETE"}
        assert api.refused("GetUser", user=name) == (404, "NoSuchEntity")


class TestOperation:
    def test_status_usage_and_snapshots_are_told(self, server, api, bucket):
        clients.boto(server).put_object(Bucket=bucket, Key="k", Body=b"x" * 100)
        status = api("GetStatus")
        assert len(status["instances"]) == 1 and len(status["volumes"]) == 9
        assert "buckets" in api("GetUsage")
        assert isinstance(api("ListSnapshots")["items"], list)
        volume = api("ListVolumes", query={"limit": 1})["items"][0]
        assert api("GetVolume", volume=volume["id"])["path"] == volume["path"]
        assert api.refused("GetVolume", volume="nothing") == (404, "NoSuchVolume")
        assert api.refused("RemoveVolume", volume=volume["id"]) == (409, "VolumeInUse")

    def test_jobs_are_asked_for(self, api):
        assert api.refused("GetJob", job="nothing") == (404, "NoSuchJob")
        assert api.refused("StartJob", job="format") == (404, "NoSuchJob")
        status, job = api.send("StartJob", job="heal")
        assert (status, job["name"]) == (202, "heal")
        assert api("GetJob", job="heal")["requested"] >= job["requested"]
        assert "heal" in [each["name"] for each in api("ListJobs")["items"]]

    def test_volumes_are_drained_and_forgotten(self, database, new_server, used, tmp_path):
        args = ["--volume", f"{tmp_path}/v{{1...10}}", "--maintenance-interval", "1s"]
        server = new_server(database_url=database(), args=args).start()
        api = Api(server, used=used)
        assert api.refused("DrainVolume", volume="nothing") == (404, "NoSuchVolume")
        one = next(volume["id"] for volume in api("ListVolumes")["items"] if volume["path"].endswith("v10"))
        assert api("DrainVolume", volume=one)["name"] == f"drain:{one}"
        api("UndrainVolume", volume=one)
        assert not api("GetVolume", volume=one)["draining"]
        api("DrainVolume", volume=one)
        deadline = time.monotonic() + PATIENCE
        while (job := api("GetJob", job=f"drain:{one}"))["state"] != "done":
            assert time.monotonic() < deadline, job
            time.sleep(0.1)
        api("RemoveVolume", volume=one)
        assert api.refused("GetVolume", volume=one) == (404, "NoSuchVolume")


def test_every_operation_was_used(api, used):
    """Behind all others; it says something only where all of them have run."""
    assert set(api.operations) - used == {"GetDocument"}
