"""Sessions for whoever an identity provider knows, by boto3 and MinIO's SDK."""

import datetime
import json

import pytest
from minio import Minio
from minio.credentials import WebIdentityProvider

from support import clients, oidc
from support.server import REGION
from test_iam import S3_ONLY, error, policy
from test_sts import within


@pytest.fixture(scope="module")
def provider():
    """An identity provider."""
    running = oidc.Provider()
    yield running
    running.close()


@pytest.fixture(scope="module")
def server(database, provider, tmp_path_factory):
    """A server that takes the provider's tokens."""
    from support import server as servers

    args = ["--oidc-config-url", provider.config_url, "--oidc-client-id", oidc.CLIENT]
    running = servers.Server(tmp_path_factory.mktemp("server"), database_url=database(), args=args).start()
    yield running
    code = running.stop()
    assert code == 0, f"the server ended with {code}:\n{running.output[-4000:]}"


@pytest.fixture
def iam(server):
    """IAM, as root."""
    return clients.service(server, "iam")


@pytest.fixture
def account(server):
    """The account's number."""
    return clients.service(server, "sts").get_caller_identity()["Account"]


def assume(server, token, **more):
    """A session for a token, with a role or without."""
    return clients.service(server, "sts").assume_role_with_web_identity(WebIdentityToken=token, **more)


def refused(server, token, **more):
    """Status and code of a session that there is not."""
    return error(clients.service(server, "sts").assume_role_with_web_identity, WebIdentityToken=token, **more)


@pytest.fixture
def role(iam, account, provider, name):
    """A role that alice may take, and what her requests are made of."""
    arn = f"arn:aws:iam::{account}:oidc-provider/{provider.name}"
    conditions = {"StringEquals": {f"{provider.name}:sub": "alice", f"{provider.name}:aud": oidc.CLIENT}}
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": arn}}
    document = policy(trusted | {"Condition": conditions})
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document, MaxSessionDuration=7200)["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(S3_ONLY))
    yield {"RoleArn": made["Arn"], "RoleSessionName": "session"}
    iam.delete_role_policy(RoleName=name, PolicyName="all")
    iam.delete_role(RoleName=name)


class TestRoles:
    def test_are_taken_by_whom_they_trust(self, server, provider, account, role, name):
        session = assume(server, provider.token(), **role)
        assert session["SubjectFromWebIdentityToken"] == "alice"
        assert (session["Audience"], session["Provider"]) == (oidc.CLIENT, provider.issuer)
        arn = f"arn:aws:sts::{account}:assumed-role/{name}/session"
        assert session["AssumedRoleUser"]["Arn"] == arn
        assert session["AssumedRoleUser"]["AssumedRoleId"].endswith(":session")
        lasts = session["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
        assert datetime.timedelta(minutes=50) < lasts <= datetime.timedelta(hours=1)
        assert within(server, "sts", session).get_caller_identity()["Arn"] == arn
        s3 = within(server, "s3", session)
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="key", Body=b"body")
        assert s3.get_object(Bucket=name, Key="key")["Body"].read() == b"body"
        s3.delete_object(Bucket=name, Key="key")
        s3.delete_bucket(Bucket=name)

    def test_are_taken_by_nobody_else(self, server, provider, role):
        assert refused(server, provider.token(sub="bob"), **role) == (403, "AccessDenied")
        other = role | {"RoleArn": role["RoleArn"] + "x"}
        assert refused(server, provider.token(), **other) == (403, "AccessDenied")
        token = provider.token()
        for claims, code in [
            ({"aud": "another"}, "InvalidIdentityToken"),
            ({"iss": "https://elsewhere"}, "InvalidIdentityToken"),
            ({"exp": 1}, "ExpiredTokenException"),
        ]:
            assert refused(server, provider.token(**claims), **role) == (400, code)
        head, claims, signature = token.split(".")
        assert refused(server, f"{head}.{claims}.{signature[::-1]}", **role) == (400, "InvalidIdentityToken")
        assert refused(server, f"eyJhbGciOiJub25lIn0.{claims}.", **role) == (400, "InvalidIdentityToken")
        for text in (token, "eyJ"):
            assert text not in server.output

    def test_are_limited_by_the_session(self, server, provider, role, name):
        listing = policy({"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})
        session = assume(server, provider.token(), **role, Policy=listing)
        assert session["PackedPolicySize"] > 0
        s3 = within(server, "s3", session)
        s3.list_buckets()
        assert error(s3.create_bucket, Bucket=name) == (403, "AccessDenied")
        assert refused(server, provider.token(), **role, Policy="{}") == (400, "MalformedPolicyDocument")
        assume(server, provider.token(), **role, DurationSeconds=7200)
        assert refused(server, provider.token(), **role, DurationSeconds=7201) == (400, "ValidationError")

    def test_have_policies_about_claims(self, server, iam, provider, role, name):
        root = clients.service(server, "s3")
        root.create_bucket(Bucket=name)
        own = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{name}/${{{provider.name}:sub}}/*"}
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy(own))
        s3 = within(server, "s3", assume(server, provider.token(), **role))
        s3.put_object(Bucket=name, Key="alice/key", Body=b"")
        assert error(s3.put_object, Bucket=name, Key="bob/key", Body=b"") == (403, "AccessDenied")
        root.delete_object(Bucket=name, Key="alice/key")
        root.delete_bucket(Bucket=name)


def test_iam_knows_the_provider(iam, account, provider):
    arn = f"arn:aws:iam::{account}:oidc-provider/{provider.name}"
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == [{"Arn": arn}]
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"]) == (provider.name, [oidc.CLIENT])
    assert error(iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn + "x") == (404, "NoSuchEntity")
    assert error(iam.delete_open_id_connect_provider, OpenIDConnectProviderArn=arn) == (501, "NotImplemented")


class TestClaims:
    """As MinIO has it: no role, and a claim that names policies."""

    def minio(self, server, token, **more):
        credentials = WebIdentityProvider(
            jwt_provider_func=lambda: {"access_token": token}, sts_endpoint=server.endpoint, **more
        )
        return Minio(server.endpoint.removeprefix("http://"), credentials=credentials, secure=False, region=REGION)

    def test_name_policies(self, server, iam, provider, account, name):
        minio = self.minio(server, provider.token(policy="nothing,readwrite"))
        minio.make_bucket(name)
        minio.remove_bucket(name)
        document = policy({"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"})
        arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
        minio = self.minio(server, provider.token(policy=[name, "nothing"]))
        minio.list_buckets()
        change = policy({"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*"})
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=change, SetAsDefault=True)
        with pytest.raises(Exception, match="AccessDenied"):
            minio.list_buckets()
        for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        iam.delete_policy(PolicyArn=arn)

    def test_are_limited_by_the_session(self, server, provider, name):
        listing = json.loads(policy({"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}))
        minio = self.minio(server, provider.token(policy="readwrite"), policy=json.dumps(listing))
        minio.list_buckets()
        with pytest.raises(Exception, match="AccessDenied"):
            minio.make_bucket(name)

    def test_must_name_some(self, server, provider):
        for claims in ({}, {"policy": "nothing"}, {"policy": 1}):
            with pytest.raises(Exception, match="InvalidParameterValue|400"):
                self.minio(server, provider.token(**claims)).list_buckets()

    def test_are_no_way_to_more(self, server, provider, account):
        credentials = self.minio(server, provider.token(policy="consoleAdmin"))._provider.retrieve()
        session = {
            "Credentials": {
                "AccessKeyId": credentials.access_key,
                "SecretAccessKey": credentials.secret_key,
                "SessionToken": credentials.session_token,
            }
        }
        sts = within(server, "sts", session)
        arn = f"arn:aws:sts::{account}:federated-user/{provider.name}/alice"
        assert sts.get_caller_identity()["Arn"] == arn
        assert error(sts.get_session_token) == (403, "AccessDenied")
        other = {"RoleArn": f"arn:aws:iam::{account}:role/x", "RoleSessionName": "session"}
        assert error(sts.assume_role, **other) == (403, "AccessDenied")
        assert error(within(server, "iam", session).list_users) == (403, "AccessDenied")
