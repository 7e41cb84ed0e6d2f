"""boto3: configurations of buckets that come back as they were given, and what is refused of them, which leaves what was there."""

import datetime

import pytest
from botocore.exceptions import ClientError

from support import raw
from test_objects import refused
from test_versions import set_versioning

ROLE = "arn:aws:iam::123456789012:role/copier"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:queue"
MIDNIGHT = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)


def said(call, **arguments):
    """Status, code and message of a call that is refused."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return *refused(error), error.value.response["Error"]["Message"]


class TestEncryption:
    """PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption."""

    NONE = (404, "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found")

    @staticmethod
    def put(s3, bucket, *rules):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": list(rules)})

    def test_put_get_delete(self, s3, bucket, name):
        assert said(s3.get_bucket_encryption, Bucket=bucket) == self.NONE
        default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
        self.put(s3, bucket, default)
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == {"Rules": [default]}
        for _ in range(2):
            assert s3.delete_bucket_encryption(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert said(s3.get_bucket_encryption, Bucket=bucket) == self.NONE
        with pytest.raises(ClientError) as error:
            self.put(s3, f"{name}-none", default)
        assert refused(error) == (404, "NoSuchBucket")

    @pytest.mark.parametrize(
        ("default", "answer"),
        [
            ({"SSEAlgorithm": "aws:kms"}, (501, "NotImplemented")),
            ({"SSEAlgorithm": "aws:kms:dsse"}, (501, "NotImplemented")),
            ({"SSEAlgorithm": "AES128"}, (400, "MalformedXML")),
            ({"SSEAlgorithm": "AES256", "KMSMasterKeyID": "k"}, (400, "InvalidArgument")),
        ],
    )
    def test_refused(self, s3, bucket, default, answer):
        with pytest.raises(ClientError) as error:
            self.put(s3, bucket, {"ApplyServerSideEncryptionByDefault": default})
        assert refused(error) == answer
        assert said(s3.get_bucket_encryption, Bucket=bucket) == self.NONE


class TestLifecycle:
    """PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration, DeleteBucketLifecycle."""

    NONE = (404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")

    @staticmethod
    def put(s3, bucket, *rules, **more):
        return s3.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **more
        )

    @staticmethod
    def rule(**change):
        return {"ID": "rule", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}} | change

    def test_put_get_delete(self, s3, bucket):
        assert said(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == self.NONE
        tag = {"Key": "k", "Value": "v"}
        rules = [
            self.rule(ID="all", NoncurrentVersionExpiration={"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}),
            self.rule(ID="prefix", Filter={"Prefix": "logs/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}),
            self.rule(ID="tag", Filter={"Tag": tag}, Status="Disabled"),
            self.rule(ID="size", Filter={"ObjectSizeGreaterThan": 0}, Expiration={"Date": MIDNIGHT}),
            self.rule(
                ID="and",
                Filter={"And": {"Prefix": "a", "Tags": [tag], "ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 9}},
            ),
            self.rule(ID="marker", Expiration={"ExpiredObjectDeleteMarker": True}),
            {"ID": "legacy", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}},
        ]
        answer = self.put(s3, bucket, *rules)
        assert answer["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
        found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        assert found["Rules"] == rules
        assert found["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
        unnamed = self.rule()
        del unnamed["ID"]
        self.put(s3, bucket, unnamed, unnamed, TransitionDefaultMinimumObjectSize="varies_by_storage_class")
        found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        assert len({rule["ID"] for rule in found["Rules"]}) == 2
        assert found["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
        for _ in range(2):
            assert s3.delete_bucket_lifecycle(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert said(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == self.NONE

    def test_a_thousand_rules(self, s3, bucket):
        rules = [self.rule(ID=f"{number:0255}", Filter={"Prefix": f"{number}/"}) for number in range(1001)]
        self.put(s3, bucket, *rules[:1000])
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules[:1000]
        with pytest.raises(ClientError) as error:
            self.put(s3, bucket, *rules)
        assert refused(error) == (400, "MalformedXML")

    @pytest.mark.parametrize(
        ("change", "code", "message"),
        [
            ({"ID": "i" * 256}, "InvalidArgument", "ID length should not exceed allowed limit of 255"),
            ({"Status": "enabled"}, "MalformedXML", None),
            ({"Prefix": "p"}, "MalformedXML", None),
            ({"Filter": None}, "MalformedXML", None),
            ({"Filter": {"Prefix": "p", "ObjectSizeLessThan": 5}}, "MalformedXML", None),
            ({"Filter": {"And": {"Prefix": "p"}}}, "MalformedXML", None),
            ({"Filter": {"ObjectSizeGreaterThan": -1}}, "InvalidArgument", None),
            (
                {"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}},
                "InvalidRequest",
                "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
            ),
            ({"Expiration": None}, "InvalidRequest", "At least one action needs to be specified in a rule"),
            ({"Expiration": {}}, "MalformedXML", None),
            ({"Expiration": {"Days": 0}}, "InvalidArgument", "'Days' for Expiration action must be a positive integer"),
            ({"Expiration": {"Days": 1, "Date": MIDNIGHT}}, "MalformedXML", None),
            (
                {"Expiration": {"Date": MIDNIGHT + datetime.timedelta(hours=1)}},
                "InvalidArgument",
                "'Date' must be at midnight GMT",
            ),
            (
                {"Expiration": {"ExpiredObjectDeleteMarker": True}, "Filter": {"Tag": {"Key": "k", "Value": "v"}}},
                "InvalidRequest",
                "ExpiredObjectDeleteMarker cannot be specified with Tags.",
            ),
            (
                {
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                    "Filter": {"Tag": {"Key": "k", "Value": "v"}},
                },
                "InvalidRequest",
                "AbortIncompleteMultipartUpload cannot be specified with Tags.",
            ),
            (
                {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}},
                "InvalidArgument",
                "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
            ),
            (
                {"NoncurrentVersionExpiration": {"NewerNoncurrentVersions": 3}},
                "InvalidArgument",
                "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
            ),
            ({"Transitions": [{"Days": 1, "StorageClass": "WARM"}]}, "MalformedXML", None),
            ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, "NotImplemented", None),
            (
                {"NoncurrentVersionTransitions": [{"NoncurrentDays": 1, "StorageClass": "GLACIER"}]},
                "NotImplemented",
                None,
            ),
        ],
    )
    def test_refused(self, s3, bucket, change, code, message):
        kept = self.rule(ID="kept")
        self.put(s3, bucket, kept)
        rule = {name: value for name, value in self.rule(**change).items() if value is not None}
        with pytest.raises(ClientError) as error:
            self.put(s3, bucket, self.rule(ID="first"), rule)
        assert refused(error) == (501 if code == "NotImplemented" else 400, code)
        assert message in (None, error.value.response["Error"]["Message"])
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [kept]

    def test_documents_that_no_client_sends(self, server, s3, bucket):
        def put(rule):
            document = f"<LifecycleConfiguration><Rule>{rule}<Status>Enabled</Status></Rule></LifecycleConfiguration>"
            return raw.signed(server, "PUT", f"/{bucket}?lifecycle", body=document.encode())

        for rule in (
            "<Filter/><Expiration><Date>20300101</Date></Expiration>",
            "<Filter/><Expiration><Days>soon</Days></Expiration>",
            "<Filter><Prefix>a</Prefix><Prefix>b</Prefix></Filter><Expiration><Days>1</Days></Expiration>",
            "<Filter/><Expiration><Days>1</Days></Expiration><Status>Enabled</Status>",
        ):
            answer = put(rule)
            assert (answer.status, answer.code) == (400, "MalformedXML"), answer
        assert put("<Filter/><Expiration><Days>1</Days></Expiration>").status == 200
        answer = raw.signed(server, "PUT", f"/{bucket}?lifecycle")
        assert (answer.status, answer.code) == (400, "MissingRequestBodyError")
        assert len(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) == 1


class TestNotification:
    """PutBucketNotificationConfiguration, GetBucketNotificationConfiguration."""

    @staticmethod
    def get(s3, bucket):
        answer = s3.get_bucket_notification_configuration(Bucket=bucket)
        del answer["ResponseMetadata"]
        return answer

    def test_no_targets(self, s3, bucket, name):
        assert self.get(s3, bucket) == {}
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
        queue = {"QueueArn": QUEUE, "Events": ["s3:ObjectCreated:*"]}
        for skip in (False, True):
            answer = said(
                s3.put_bucket_notification_configuration,
                Bucket=bucket,
                NotificationConfiguration={"QueueConfigurations": [queue]},
                SkipDestinationValidation=skip,
            )
            assert answer == (400, "InvalidArgument", "Unable to validate the following destination configurations")
        assert self.get(s3, bucket) == {}
        answer = said(s3.put_bucket_notification_configuration, Bucket=f"{name}-none", NotificationConfiguration={})
        assert answer[:2] == (404, "NoSuchBucket")
        assert said(s3.get_bucket_notification_configuration, Bucket=f"{name}-none")[:2] == (404, "NoSuchBucket")

    @pytest.mark.parametrize(
        ("configuration", "status", "code"),
        [
            ({"QueueConfigurations": [{"QueueArn": QUEUE, "Events": ["s3:ObjectMade:*"]}]}, 400, "MalformedXML"),
            ({"QueueConfigurations": [{"QueueArn": "queue", "Events": ["s3:ObjectCreated:*"]}]}, 400, "InvalidArgument"),
            ({"TopicConfigurations": [{"TopicArn": QUEUE, "Events": ["s3:ObjectCreated:*"]}]}, 400, "InvalidArgument"),
            ({"EventBridgeConfiguration": {}}, 501, "NotImplemented"),
        ],
    )
    def test_refused(self, s3, bucket, configuration, status, code):
        answer = said(
            s3.put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=configuration
        )
        assert answer[:2] == (status, code)


class TestReplication:
    """PutBucketReplication, GetBucketReplication, DeleteBucketReplication."""

    NONE = (404, "ReplicationConfigurationNotFoundError", "The replication configuration was not found")

    @pytest.fixture
    def copies(self, s3, bucket):
        """A bucket to copy to; both keep versions."""
        copies = f"{bucket}-copies"
        s3.create_bucket(Bucket=copies)
        for each in (bucket, copies):
            set_versioning(s3, each, "Enabled")
        yield copies
        s3.delete_bucket(Bucket=copies)

    @staticmethod
    def put(s3, bucket, *rules, role=ROLE):
        s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration={"Role": role, "Rules": list(rules)})

    @staticmethod
    def rule(copies, **change):
        return {
            "ID": "rule",
            "Priority": 1,
            "Filter": {},
            "Status": "Enabled",
            "Destination": {"Bucket": f"arn:aws:s3:::{copies}"},
            "DeleteMarkerReplication": {"Status": "Disabled"},
        } | change

    def test_put_get_delete(self, s3, bucket, copies):
        assert said(s3.get_bucket_replication, Bucket=bucket) == self.NONE
        tags = [{"Key": "k", "Value": "v"}]
        rules = [
            self.rule(copies, DeleteMarkerReplication={"Status": "Enabled"}),
            self.rule(
                copies,
                ID="whole",
                Priority=2,
                Status="Disabled",
                Filter={"And": {"Prefix": "p", "Tags": tags}},
                Destination={"Bucket": f"arn:aws:s3:::{copies}", "StorageClass": "STANDARD"},
                ExistingObjectReplication={"Status": "Enabled"},
                SourceSelectionCriteria={"ReplicaModifications": {"Status": "Enabled"}},
            ),
            {
                "ID": "legacy",
                "Prefix": "old/",
                "Status": "Enabled",
                "Destination": {"Bucket": f"arn:aws:s3:::{copies}"},
            },
        ]
        self.put(s3, bucket, *rules)
        found = s3.get_bucket_replication(Bucket=bucket)["ReplicationConfiguration"]
        assert found == {"Role": ROLE, "Rules": rules}
        with pytest.raises(ClientError) as error:
            set_versioning(s3, bucket, "Suspended")
        assert refused(error) == (409, "InvalidBucketState")
        assert "replication configuration is present" in error.value.response["Error"]["Message"]
        for _ in range(2):
            assert s3.delete_bucket_replication(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert said(s3.get_bucket_replication, Bucket=bucket) == self.NONE
        set_versioning(s3, bucket, "Suspended")

    def test_both_sides_must_keep_versions(self, s3, bucket, name):
        def answer(source, to):
            configuration = {"Role": ROLE, "Rules": [self.rule(to)]}
            return said(s3.put_bucket_replication, Bucket=source, ReplicationConfiguration=configuration)

        plain = f"{name}-plain"
        s3.create_bucket(Bucket=plain)
        assert answer(bucket, plain)[1:] == (
            "InvalidRequest",
            "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
        )
        set_versioning(s3, bucket, "Enabled")
        assert answer(bucket, plain)[1:] == ("InvalidRequest", "Destination bucket must have versioning enabled.")
        assert answer(bucket, f"{name}-none")[1:] == ("InvalidRequest", "Destination bucket must exist.")
        assert answer(f"{name}-none", bucket)[:2] == (404, "NoSuchBucket")
        assert answer(bucket, bucket)[1] == "InvalidRequest"
        assert said(s3.get_bucket_replication, Bucket=bucket) == self.NONE
        s3.delete_bucket(Bucket=plain)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"ID": "i" * 256}, "InvalidArgument"),
            ({"Priority": None}, "InvalidRequest"),
            ({"Priority": -1}, "InvalidArgument"),
            ({"DeleteMarkerReplication": None}, "InvalidRequest"),
            ({"Status": "on"}, "MalformedXML"),
            ({"Prefix": "p"}, "MalformedXML"),
            ({"Destination": {"Bucket": "copies"}}, "InvalidArgument"),
            ({"Destination": {"Bucket": "arn:aws:s3:::x", "StorageClass": "GLACIER"}}, "NotImplemented"),
            ({"Destination": {"Bucket": "arn:aws:s3:::x", "Account": "123456789012"}}, "NotImplemented"),
            ({"SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}}}, "NotImplemented"),
        ],
    )
    def test_refused(self, s3, bucket, copies, change, code):
        rule = {name: value for name, value in self.rule(copies, **change).items() if value is not None}
        with pytest.raises(ClientError) as error:
            self.put(s3, bucket, rule)
        assert refused(error) == (501 if code == "NotImplemented" else 400, code)
        assert said(s3.get_bucket_replication, Bucket=bucket) == self.NONE

    def test_roles_are_arns(self, s3, bucket, copies):
        with pytest.raises(ClientError) as error:
            self.put(s3, bucket, self.rule(copies), role="copier")
        assert refused(error) == (400, "InvalidArgument")


class TestInventory:
    """PutBucketInventoryConfiguration and its kin."""

    NONE = (404, "NoSuchConfiguration", "The specified configuration does not exist.")

    @staticmethod
    def of(bucket, **change):
        return {
            "Id": "one",
            "IsEnabled": True,
            "IncludedObjectVersions": "Current",
            "Schedule": {"Frequency": "Daily"},
            "Destination": {"S3BucketDestination": {"Bucket": f"arn:aws:s3:::{bucket}", "Format": "CSV"}},
        } | change

    @staticmethod
    def put(s3, bucket, configuration, **change):
        arguments = {"Bucket": bucket, "Id": configuration["Id"], "InventoryConfiguration": configuration} | change
        s3.put_bucket_inventory_configuration(**arguments)

    @staticmethod
    def listed(s3, bucket):
        return s3.list_bucket_inventory_configurations(Bucket=bucket).get("InventoryConfigurationList", [])

    def test_put_get_list_delete(self, s3, bucket):
        assert said(s3.get_bucket_inventory_configuration, Bucket=bucket, Id="one") == self.NONE
        assert said(s3.delete_bucket_inventory_configuration, Bucket=bucket, Id="one") == self.NONE
        assert self.listed(s3, bucket) == []
        whole = self.of(
            bucket,
            Id="whole",
            IsEnabled=False,
            IncludedObjectVersions="All",
            Schedule={"Frequency": "Weekly"},
            Filter={"Prefix": "p"},
            OptionalFields=["Size", "ETag", "ChecksumAlgorithm"],
            Destination={
                "S3BucketDestination": {
                    "Bucket": f"arn:aws:s3:::{bucket}",
                    "Format": "Parquet",
                    "Prefix": "lists",
                    "Encryption": {"SSES3": {}},
                }
            },
        )
        for configuration in (whole, self.of(bucket)):
            self.put(s3, bucket, configuration)
            found = s3.get_bucket_inventory_configuration(Bucket=bucket, Id=configuration["Id"])
            assert found["InventoryConfiguration"] == configuration
        assert self.listed(s3, bucket) == [self.of(bucket), whole]
        changed = self.of(bucket, IsEnabled=False)
        self.put(s3, bucket, changed)
        assert self.listed(s3, bucket) == [changed, whole]
        answer = s3.delete_bucket_inventory_configuration(Bucket=bucket, Id="one")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert self.listed(s3, bucket) == [whole]

    def test_pages(self, s3, bucket):
        for number in range(101):
            self.put(s3, bucket, self.of(bucket, Id=f"i{number:03}"))
        first = s3.list_bucket_inventory_configurations(Bucket=bucket)
        assert first["IsTruncated"] and len(first["InventoryConfigurationList"]) == 100
        token = first["NextContinuationToken"]
        second = s3.list_bucket_inventory_configurations(Bucket=bucket, ContinuationToken=token)
        assert not second["IsTruncated"] and "NextContinuationToken" not in second
        assert [one["Id"] for one in second["InventoryConfigurationList"]] == ["i100"]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"Schedule": {"Frequency": "Hourly"}}, "MalformedXML"),
            ({"IncludedObjectVersions": "None"}, "MalformedXML"),
            ({"OptionalFields": ["Colour"]}, "MalformedXML"),
            ({"Destination": {"S3BucketDestination": {"Bucket": "lists", "Format": "CSV"}}}, "InvalidS3DestinationBucket"),
            (
                {"Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::no-such-one", "Format": "CSV"}}},
                "InvalidS3DestinationBucket",
            ),
            ({"Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::x", "Format": "JSON"}}}, "MalformedXML"),
            ({"Id": "a b"}, "InvalidConfigurationId"),
        ],
    )
    def test_refused(self, s3, bucket, change, code):
        with pytest.raises(ClientError) as error:
            self.put(s3, bucket, self.of(bucket, **change))
        assert refused(error) == (400, code)
        assert self.listed(s3, bucket) == []

    def test_ids_must_agree(self, server, s3, bucket, name):
        with pytest.raises(ClientError) as error:
            self.put(s3, bucket, self.of(bucket), Id="two")
        assert refused(error) == (400, "IdMismatch")
        with pytest.raises(ClientError) as error:
            self.put(s3, f"{name}-none", self.of(bucket))
        assert refused(error) == (404, "NoSuchBucket")
        answer = raw.signed(server, "PUT", f"/{bucket}?inventory", body=b"<InventoryConfiguration/>")
        assert answer.status == 400, answer


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "accelerate"),
        ("PUT", "accelerate"),
        ("GET", "analytics&id=a"),
        ("PUT", "analytics&id=a"),
        ("GET", "metrics&id=a"),
        ("PUT", "metrics&id=a"),
        ("GET", "intelligent-tiering&id=a"),
        ("PUT", "intelligent-tiering&id=a"),
    ],
)
def test_what_nothing_obeys_is_not_accepted(server, bucket, method, target):
    """A configuration that would be kept and not obeyed is refused, and there is none to be had."""
    answer = raw.signed(server, method, f"/{bucket}?{target}")
    assert (answer.status, answer.code) == (501, "NotImplemented"), answer
