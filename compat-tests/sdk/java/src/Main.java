import java.io.ByteArrayOutputStream;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import software.amazon.awssdk.core.SdkGlobalTime;
import software.amazon.awssdk.core.async.AsyncRequestBody;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.*;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;
import software.amazon.awssdk.transfer.s3.S3TransferManager;

/**
 * Ninefold seen through the AWS SDK for Java: one method for each behaviour of ../behaviours.json.
 *
 * It prints a line of JSON for each: {"name": ..., "ok": ..., "message": ...}. See ../../test_sdks.py for what it is given.
 */
final class Main extends Harness {
    static final String OTHER = "\"00000000000000000000000000000000\"";

    public static void main(String[] only) {
        Map<String, Check> all = new LinkedHashMap<>();
        all.put("bucket-life", Main::bucketLife);
        all.put("bucket-list", Main::bucketList);
        all.put("body-empty", () -> roundTrip(0));
        all.put("body-small", () -> roundTrip(11));
        all.put("body-64k", () -> roundTrip(64 * KIB));
        all.put("body-1m", () -> roundTrip(MIB + 1));
        all.put("body-20m", () -> roundTrip(20 * MIB));
        all.put("delete", Main::delete);
        all.put("checksum-default", Main::checksumDefault);
        all.put("checksum-when-required", Main::checksumWhenRequired);
        all.put("checksum-algorithms", Main::checksumAlgorithms);
        all.put("checksum-wrong", Main::checksumWrong);
        all.put("attributes", Main::attributes);
        all.put("range", Main::range);
        all.put("part-number", Main::partNumber);
        all.put("conditional-read", Main::conditionalRead);
        all.put("conditional-write", Main::conditionalWrite);
        all.put("metadata", Main::metadata);
        all.put("headers", Main::headers);
        all.put("response-overrides", Main::responseOverrides);
        all.put("keys-odd", Main::keysOdd);
        all.put("keys-long", Main::keysLong);
        all.put("copy", Main::copy);
        all.put("copy-replace", Main::copyReplace);
        all.put("copy-version", Main::copyVersion);
        all.put("delete-many", Main::deleteMany);
        all.put("delete-many-quiet", Main::deleteManyQuiet);
        all.put("list-v1", Main::listV1);
        all.put("list-v2", Main::listV2);
        all.put("list-delimiter", Main::listDelimiter);
        all.put("list-encoding", Main::listEncoding);
        all.put("list-versions", Main::listVersions);
        all.put("multipart", Main::multipart);
        all.put("multipart-copy", Main::multipartCopy);
        all.put("multipart-list-abort", Main::multipartListAbort);
        all.put("multipart-refused", Main::multipartRefused);
        all.put("transfer-upload", Main::transferUpload);
        all.put("transfer-download", Main::transferDownload);
        all.put("transfer-unknown-length", Main::transferUnknownLength);
        all.put("stream-trailer", Main::streamTrailer);
        all.put("presigned-get", Main::presignedGet);
        all.put("presigned-put", Main::presignedPut);
        all.put("presigned-expired", Main::presignedExpired);
        all.put("tags-object", Main::tagsObject);
        all.put("tags-bucket", Main::tagsBucket);
        all.put("versioning", Main::versioning);
        all.put("delete-markers", Main::deleteMarkers);
        all.put("lock-retention", Main::lockRetention);
        all.put("lock-hold", Main::lockHold);
        all.put("cors", Main::cors);
        all.put("error-no-such-key", Main::errorNoSuchKey);
        all.put("error-no-such-bucket", Main::errorNoSuchBucket);
        all.put("error-bucket", Main::errorBucket);
        all.put("error-credentials", Main::errorCredentials);
        all.put("parallel", Main::inParallel);
        all.put("virtual-host", Main::virtualHost);
        all.put("clock-skew", Main::clockSkew);
        run(all, List.of(only));
        System.exit(0);
    }

    static boolean recent(Instant then) {
        return Duration.between(then, Instant.now()).abs().toHours() < 1;
    }

    static void bucketLife() throws Exception {
        String name = newName();
        c.createBucket(r -> r.bucket(name));
        same(c.headBucket(r -> r.bucket(name)).bucketRegion(), "us-east-1", "region");
        // The first region's name is the empty one.
        String location = c.getBucketLocation(r -> r.bucket(name)).locationConstraintAsString();
        ok(location == null || location.isEmpty(), "location " + location);
        try (var waiter = c.waiter()) {
            waiter.waitUntilBucketExists(r -> r.bucket(name));
            c.deleteBucket(r -> r.bucket(name));
            waiter.waitUntilBucketNotExists(r -> r.bucket(name));
        }
        refused(NoSuchBucketException.class, null, 404, () -> c.headBucket(r -> r.bucket(name)));
    }

    static void bucketList() {
        List<String> made = List.of(bucket(), bucket());
        List<String> found = new ArrayList<>();
        for (var page : c.listBucketsPaginator(r -> r.prefix(PREFIX).maxBuckets(1))) {
            page.buckets().forEach(each -> {
                ok(recent(each.creationDate()), "created " + each.creationDate());
                found.add(each.name());
            });
        }
        ok(found.containsAll(made), found);
    }

    static String etagOf(byte[] content) throws Exception {
        return '"' + HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(content)) + '"';
    }

    static void roundTrip(int size) throws Exception {
        String bucket = bucket();
        byte[] content = body(size);
        same(put(bucket, "k", content).eTag(), etagOf(content), "ETag");
        sameBytes(get(bucket, "k"), content, "body");
        var told = head(bucket, "k");
        same(told.contentLength(), (long) size, "length");
        same(told.eTag(), etagOf(content), "ETag");
        ok(recent(told.lastModified()), "last modified " + told.lastModified());
    }

    static void delete() throws Exception {
        String bucket = bucket();
        put(bucket, "k", "x");
        c.deleteObject(r -> r.bucket(bucket).key("k"));
        c.deleteObject(r -> r.bucket(bucket).key("k"));
        refused(null, 404, () -> head(bucket, "k"));
    }

    static void checksumDefault() {
        String bucket = bucket();
        var told = put(bucket, "k", body(70 * KIB));
        ok(told.checksumCRC32() != null, "no CRC32 in the answer");
        same(head(bucket, "k").checksumCRC32(), told.checksumCRC32(), "CRC32");
        sameBytes(get(bucket, "k"), body(70 * KIB), "body");
        // Asked to, the SDK asks for the checksum and reads through what verifies it: a wrong one would make reading fail.
        var got = c.getObjectAsBytes(r -> r.bucket(bucket).key("k").checksumMode(ChecksumMode.ENABLED));
        same(got.response().checksumCRC32(), told.checksumCRC32(), "CRC32");
        sameBytes(got.asByteArray(), body(70 * KIB), "body");
    }

    static void checksumWhenRequired() {
        String bucket = bucket();
        S3Client less = client(b -> b.requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED)
                .responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED));
        less.putObject(r -> r.bucket(bucket).key("k"), RequestBody.fromBytes(body(MIB)));
        same(head(bucket, "k").checksumCRC32(), null, "CRC32 nobody asked for");
        sameBytes(less.getObjectAsBytes(r -> r.bucket(bucket).key("k")).asByteArray(), body(MIB), "body");
    }

    static void checksumAlgorithms() {
        String bucket = bucket();
        // CRC64NVME needs the SDK's native library, which is left out here.
        for (var algorithm : List.of(ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32_C, ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256)) {
            for (int size : new int[] {0, 3, 200 * KIB}) {
                String key = algorithm + "-" + size;
                var told = c.putObject(r -> r.bucket(bucket).key(key).checksumAlgorithm(algorithm), RequestBody.fromBytes(body(size)));
                var kept = head(bucket, key);
                var sent = Arrays.asList(told.checksumCRC32(), told.checksumCRC32C(), told.checksumSHA1(), told.checksumSHA256());
                same(Arrays.asList(kept.checksumCRC32(), kept.checksumCRC32C(), kept.checksumSHA1(), kept.checksumSHA256()), sent, key);
                same(sent.stream().filter(each -> each != null).count(), 1L, "number of checksums of " + key);
                same(kept.checksumType(), ChecksumType.FULL_OBJECT, "type");
                sameBytes(c.getObjectAsBytes(r -> r.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED)).asByteArray(), body(size), key);
            }
        }
    }

    static void checksumWrong() throws Exception {
        String bucket = bucket();
        String sha256 = Base64.getEncoder().encodeToString(MessageDigest.getInstance("SHA-256").digest(utf8("other")));
        refused("BadDigest", 400, () -> c.putObject(r -> r.bucket(bucket).key("k").checksumSHA256(sha256), RequestBody.fromString("this")));
        String md5 = Base64.getEncoder().encodeToString(MessageDigest.getInstance("MD5").digest(utf8("other")));
        refused("BadDigest", 400, () -> c.putObject(r -> r.bucket(bucket).key("k").contentMD5(md5), RequestBody.fromString("this")));
        refused(null, 404, () -> head(bucket, "k"));
    }

    static void attributes() {
        String bucket = bucket();
        var told = put(bucket, "k", body(100));
        var got = c.getObjectAttributes(r -> r.bucket(bucket).key("k").objectAttributes(ObjectAttributes.knownValues()));
        same(got.objectSize(), 100L, "size");
        same('"' + got.eTag() + '"', told.eTag(), "ETag");
        same(got.checksum().checksumCRC32(), told.checksumCRC32(), "CRC32");
    }

    static void range() throws Exception {
        String bucket = bucket();
        byte[] content = body(300 * KIB + 7);
        int size = content.length;
        put(bucket, "k", content);
        Map<String, int[]> wanted = Map.of("bytes=0-0", new int[] {0, 1}, "bytes=65535-65536", new int[] {65535, 65537},
                "bytes=100-", new int[] {100, size}, "bytes=-10", new int[] {size - 10, size}, "bytes=307200-999999", new int[] {307200, size});
        wanted.forEach((asked, part) -> {
            var got = c.getObjectAsBytes(r -> r.bucket(bucket).key("k").range(asked));
            sameBytes(got.asByteArray(), Arrays.copyOfRange(content, part[0], part[1]), asked);
            same(got.response().contentRange(), "bytes " + part[0] + "-" + (part[1] - 1) + "/" + size, asked);
            same(got.response().acceptRanges(), "bytes", "Accept-Ranges");
        });
        refused("InvalidRange", 416, () -> c.getObjectAsBytes(r -> r.bucket(bucket).key("k").range("bytes=" + size + "-")));
    }

    static void partNumber() throws Exception {
        String bucket = bucket();
        List<byte[]> parts = List.of(body(5 * MIB), body(1000));
        inParts(bucket, "k", parts);
        for (int index = 0; index < 2; index++) {
            int number = index + 1;
            var got = c.getObjectAsBytes(r -> r.bucket(bucket).key("k").partNumber(number));
            sameBytes(got.asByteArray(), parts.get(index), "part");
            same(got.response().partsCount(), 2, "count of parts");
            same(c.headObject(r -> r.bucket(bucket).key("k").partNumber(number)).contentLength(), (long) parts.get(index).length, "length");
        }
        refused("InvalidPartNumber", 416, () -> c.getObjectAsBytes(r -> r.bucket(bucket).key("k").partNumber(3)));
    }

    record Conditions(String match, String noneMatch, Instant modified, Instant unmodified, int status) {}

    static void conditionalRead() throws Exception {
        String bucket = bucket();
        String etag = put(bucket, "k", "x").eTag();
        Instant early = Instant.now().minusSeconds(3600);
        Instant late = Instant.now().plusSeconds(3600);
        for (var each : List.of(
                new Conditions(etag, null, null, null, 200),
                new Conditions("\"other\"", null, null, null, 412),
                new Conditions(null, etag, null, null, 304),
                new Conditions(null, "\"other\"", null, null, 200),
                new Conditions(null, null, early, null, 200),
                new Conditions(null, null, head(bucket, "k").lastModified(), null, 304),
                new Conditions(null, null, null, early, 412),
                new Conditions(null, null, null, late, 200),
                // Both: the ETag's word counts.
                new Conditions(etag, null, null, early, 200),
                new Conditions(null, etag, early, null, 304))) {
            Check get = () -> same(c.getObjectAsBytes(r -> r.bucket(bucket).key("k").ifMatch(each.match).ifNoneMatch(each.noneMatch)
                    .ifModifiedSince(each.modified).ifUnmodifiedSince(each.unmodified)).asUtf8String(), "x", "body");
            Check head = () -> c.headObject(r -> r.bucket(bucket).key("k").ifMatch(each.match).ifNoneMatch(each.noneMatch)
                    .ifModifiedSince(each.modified).ifUnmodifiedSince(each.unmodified));
            if (each.status == 200) {
                get.run();
                head.run();
            } else {
                refused(each.status == 412 ? "PreconditionFailed" : null, each.status, get);
                refused(null, each.status, head);
            }
        }
    }

    static void write(String bucket, String content, String match, String noneMatch) {
        c.putObject(r -> r.bucket(bucket).key("k").ifMatch(match).ifNoneMatch(noneMatch), RequestBody.fromString(content));
    }

    static void conditionalWrite() throws Exception {
        String bucket = bucket();
        refused("NoSuchKey", 404, () -> write(bucket, "0", OTHER, null));
        write(bucket, "1", null, "*");
        refused("PreconditionFailed", 412, () -> write(bucket, "2", null, "*"));
        write(bucket, "3", head(bucket, "k").eTag(), null);
        refused("PreconditionFailed", 412, () -> write(bucket, "4", OTHER, null));
        same(text(bucket, "k"), "3", "body");
    }

    static void metadata() {
        String bucket = bucket();
        // The SDK's HTTP client sends other characters than ASCII as question marks: such text goes as encoded words, kept as they are.
        Map<String, String> given = Map.of("plain", "value", "MiXed-Case", "a  b", "comma", "a, b;c=\"d\"", "word", "=?UTF-8?B?Z3LDvG4g4piD?=");
        c.putObject(r -> r.bucket(bucket).key("k").metadata(given), RequestBody.fromString("x"));
        Map<String, String> wanted = new java.util.HashMap<>(given);
        wanted.put("mixed-case", wanted.remove("MiXed-Case"));
        same(head(bucket, "k").metadata(), wanted, "metadata");
    }

    static void headers() {
        String bucket = bucket();
        Instant expires = Instant.parse("2040-01-02T03:04:05Z");
        c.putObject(r -> r.bucket(bucket).key("k").contentType("text/x-odd; charset=utf-8").contentEncoding("zstd").contentLanguage("de, en")
                .contentDisposition("attachment; filename=\"a b.txt\"").cacheControl("no-store").expires(expires), RequestBody.fromString("x"));
        var got = c.getObjectAsBytes(r -> r.bucket(bucket).key("k"));
        same(got.asUtf8String(), "x", "body");
        same(got.response().contentType(), "text/x-odd; charset=utf-8", "type");
        same(got.response().contentEncoding(), "zstd", "encoding");
        same(got.response().contentLanguage(), "de, en", "language");
        same(got.response().contentDisposition(), "attachment; filename=\"a b.txt\"", "disposition");
        same(got.response().cacheControl(), "no-store", "cache control");
        same(got.response().expiresString(), "Mon, 02 Jan 2040 03:04:05 GMT", "expires");
    }

    static void responseOverrides() {
        String bucket = bucket();
        put(bucket, "k", "x");
        var got = c.getObjectAsBytes(r -> r.bucket(bucket).key("k").responseContentType("a/b").responseContentLanguage("fr")
                .responseContentDisposition("inline; filename=1+2.txt").responseCacheControl("max-age=7")
                .responseContentEncoding("identity").responseExpires(Instant.parse("2040-01-02T03:04:05Z"))).response();
        same(got.contentType(), "a/b", "type");
        same(got.contentLanguage(), "fr", "language");
        same(got.contentDisposition(), "inline; filename=1+2.txt", "disposition");
        same(got.cacheControl(), "max-age=7", "cache control");
        same(got.contentEncoding(), "identity", "encoding");
        same(got.expiresString(), "Mon, 02 Jan 2040 03:04:05 GMT", "expires");
    }

    static void keysOdd() {
        String bucket = bucket();
        List<String> odd = new ArrayList<>(List.of("/leading", "//double//slash/", "a b  c", "a+b", "a%20b", "a%2Fb", "q?uery=1&b#c",
                "quote\"'<>&", "ü/☃/日本/😀", "e\u0301", "../up", "a/../b", "./dot", ".", "..", "a/.", "tilde~!*()@$,;:=", "back\\slash", "{[|]}^`"));
        odd.forEach(key -> put(bucket, key, key));
        odd.forEach(key -> same(text(bucket, key), key, "body"));
        odd.sort((a, b) -> Arrays.compareUnsigned(utf8(a), utf8(b)));
        same(keys(c.listObjectsV2(r -> r.bucket(bucket))), odd, "listed");
        odd.forEach(key -> c.deleteObject(r -> r.bucket(bucket).key(key)));
        same(keys(c.listObjectsV2(r -> r.bucket(bucket))), List.of(), "listed");
    }

    static void keysLong() throws Exception {
        String bucket = bucket();
        String key = "0123456789abcde/".repeat(64);
        put(bucket, key, "x");
        same(text(bucket, key), "x", "body");
        refused("KeyTooLongError", 400, () -> put(bucket, key + "x", "x"));
    }

    static void copy() {
        String from = bucket();
        String key = "ü +%/k";
        var written = c.putObject(r -> r.bucket(from).key(key).metadata(Map.of("a", "b")).contentType("x/y"), RequestBody.fromBytes(body(2 * MIB)));
        for (String to : List.of(from, bucket())) {
            var told = c.copyObject(r -> r.sourceBucket(from).sourceKey(key).destinationBucket(to).destinationKey("copy"));
            same(told.copyObjectResult().eTag(), written.eTag(), "ETag");
            sameBytes(get(to, "copy"), body(2 * MIB), "copy");
            var kept = head(to, "copy");
            same(kept.metadata(), Map.of("a", "b"), "metadata");
            same(kept.contentType(), "x/y", "type");
            same(kept.checksumCRC32(), written.checksumCRC32(), "CRC32");
        }
    }

    static void copyReplace() throws Exception {
        String bucket = bucket();
        c.putObject(r -> r.bucket(bucket).key("k").metadata(Map.of("a", "b")), RequestBody.fromString("x"));
        Consumer<CopyObjectRequest.Builder> onto = r -> r.sourceBucket(bucket).sourceKey("k").destinationBucket(bucket).destinationKey("k");
        refused("InvalidRequest", 400, () -> c.copyObject(onto));
        c.copyObject(onto.andThen(r -> r.metadataDirective(MetadataDirective.REPLACE).metadata(Map.of("c", "d")).contentType("x/y")));
        same(head(bucket, "k").metadata(), Map.of("c", "d"), "metadata");
        same(head(bucket, "k").contentType(), "x/y", "type");
    }

    static void copyVersion() {
        String bucket = bucket();
        enableVersions(bucket);
        String old = put(bucket, "k", "old").versionId();
        put(bucket, "k", "new");
        var told = c.copyObject(r -> r.sourceBucket(bucket).sourceKey("k").sourceVersionId(old).destinationBucket(bucket).destinationKey("k"));
        same(told.copySourceVersionId(), old, "version of the source");
        ok(told.versionId() != null && !told.versionId().equals(old), "no new version");
        same(text(bucket, "k"), "old", "body");
    }

    static void deleteMany() throws Exception {
        String bucket = bucket();
        List<String> keys = putMany(bucket, 1000, "key %04d&<>");
        var asked = keys.stream().map(key -> version(key, null)).toList();
        var told = c.deleteObjects(r -> r.bucket(bucket).delete(d -> d.objects(asked)));
        same(told.errors(), List.of(), "errors");
        same(told.deleted().stream().map(DeletedObject::key).sorted().toList(), keys, "told to be deleted");
        same(c.listObjectsV2(r -> r.bucket(bucket)).keyCount(), 0, "keys left");
    }

    static void deleteManyQuiet() {
        String bucket = bucket();
        put(bucket, "a", "x");
        put(bucket, "b", "x");
        var asked = List.of(version("a", null), version("missing", null), version("b", "no-version"));
        var told = c.deleteObjects(r -> r.bucket(bucket).delete(d -> d.quiet(true).objects(asked)));
        same(told.deleted(), List.of(), "told to be deleted");
        same(told.errors().stream().map(S3Error::key).toList(), List.of("b"), "keys of errors");
        same(keys(c.listObjectsV2(r -> r.bucket(bucket))), List.of("b"), "left");
    }

    static void listV1() throws Exception {
        String bucket = bucket();
        List<String> keys = putMany(bucket, 25, "k%02d");
        List<String> found = new ArrayList<>();
        int pages = 0;
        for (boolean truncated = true; truncated; pages++) {
            String marker = found.isEmpty() ? null : found.get(found.size() - 1);
            var page = c.listObjects(r -> r.bucket(bucket).maxKeys(10).marker(marker));
            page.contents().forEach(each -> {
                ok(each.owner() != null && each.owner().id() != null, "no owner");
                found.add(each.key());
            });
            truncated = page.isTruncated();
        }
        same(pages, 3, "pages");
        same(found, keys, "listed");
    }

    static void listV2() throws Exception {
        String bucket = bucket();
        List<String> keys = putMany(bucket, 25, "k%02d");
        put(bucket, "other", "");
        List<String> found = new ArrayList<>();
        int pages = 0;
        for (var page : c.listObjectsV2Paginator(r -> r.bucket(bucket).maxKeys(7).prefix("k").startAfter("k02").fetchOwner(true))) {
            same(page.keyCount(), page.contents().size(), "KeyCount");
            ok(page.contents().get(0).owner() != null, "no owner");
            found.addAll(keys(page));
            pages++;
        }
        same(pages, 4, "pages");
        same(found, keys.subList(3, 25), "listed");
    }

    static void listDelimiter() {
        String bucket = bucket();
        List.of("a", "b/1", "b/2", "c/1", "c/2/3", "d", "e//f").forEach(key -> put(bucket, key, ""));
        List<String> found = new ArrayList<>();
        for (var page : c.listObjectsV2Paginator(r -> r.bucket(bucket).maxKeys(2).delimiter("/"))) {
            ok(page.keyCount() <= 2, page.keyCount() + " in a page of 2");
            found.addAll(keys(page));
            page.commonPrefixes().forEach(each -> found.add(each.prefix()));
        }
        Collections.sort(found);
        same(found, List.of("a", "b/", "c/", "d", "e/"), "listed");
        var page = c.listObjectsV2(r -> r.bucket(bucket).prefix("c/").delimiter("/"));
        same(keys(page), List.of("c/1"), "listed");
        same(page.commonPrefixes().get(0).prefix(), "c/2/", "prefix");
    }

    static void listEncoding() {
        String bucket = bucket();
        List<String> odd = List.of("a\nb", "c\u0001d", "e f+g%h/ü");
        odd.forEach(key -> put(bucket, key, ""));
        // This SDK decodes what it asked to be encoded.
        same(keys(c.listObjectsV2(r -> r.bucket(bucket).encodingType(EncodingType.URL))), odd, "encoded");
        same(keys(c.listObjectsV2(r -> r.bucket(bucket).prefix("e"))), odd.subList(2, 3), "not encoded");
        // Else no XML reader could list what is left here, to remove it.
        odd.forEach(key -> c.deleteObject(r -> r.bucket(bucket).key(key)));
    }

    static void listVersions() {
        String bucket = bucket();
        enableVersions(bucket);
        List<String> wanted = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            wanted.add(0, put(bucket, "a", "x").versionId());
        }
        String marker = c.deleteObject(r -> r.bucket(bucket).key("a")).versionId();
        wanted.add(0, marker);
        wanted.add(put(bucket, "b", "").versionId());
        List<String> found = new ArrayList<>();
        List<String> latest = new ArrayList<>();
        for (var page : c.listObjectVersionsPaginator(r -> r.bucket(bucket).maxKeys(2))) {
            for (var each : page.deleteMarkers()) {
                found.add(each.versionId());
                if (each.isLatest()) {
                    latest.add(each.versionId());
                }
            }
            for (var each : page.versions()) {
                found.add(each.versionId());
                if (each.isLatest()) {
                    latest.add(each.versionId());
                }
            }
        }
        same(found, wanted, "versions");
        same(latest, List.of(marker, wanted.get(4)), "latest");
    }

    /** Uploads in parts by hand: from the last to the first, and the first twice. */
    static CompleteMultipartUploadResponse inParts(String bucket, String key, List<byte[]> parts) {
        String upload = c.createMultipartUpload(r -> r.bucket(bucket).key(key).checksumAlgorithm(ChecksumAlgorithm.CRC32)).uploadId();
        CompletedPart[] done = new CompletedPart[parts.size()];
        java.util.function.BiConsumer<Integer, byte[]> send = (index, content) -> {
            var told = c.uploadPart(r -> r.bucket(bucket).key(key).uploadId(upload).partNumber(index + 1)
                    .checksumAlgorithm(ChecksumAlgorithm.CRC32), RequestBody.fromBytes(content));
            done[index] = CompletedPart.builder().partNumber(index + 1).eTag(told.eTag()).checksumCRC32(told.checksumCRC32()).build();
        };
        send.accept(0, utf8("replaced"));
        for (int index = parts.size() - 1; index >= 0; index--) {
            send.accept(index, parts.get(index));
        }
        return c.completeMultipartUpload(r -> r.bucket(bucket).key(key).uploadId(upload).multipartUpload(m -> m.parts(done)));
    }

    static byte[] joined(List<byte[]> parts) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        parts.forEach(all::writeBytes);
        return all.toByteArray();
    }

    static void multipart() {
        String bucket = bucket();
        List<byte[]> parts = List.of(body(5 * MIB), body(5 * MIB + 1), body(10));
        var told = inParts(bucket, "k", parts);
        ok(told.eTag().endsWith("-3\""), told.eTag());
        ok(told.checksumCRC32().endsWith("-3"), "composite CRC32: " + told.checksumCRC32());
        sameBytes(get(bucket, "k"), joined(parts), "object");
    }

    static void multipartCopy() {
        String bucket = bucket();
        byte[] content = body(6 * MIB);
        put(bucket, "from", content);
        String upload = c.createMultipartUpload(r -> r.bucket(bucket).key("k")).uploadId();
        List<CompletedPart> done = new ArrayList<>();
        for (String range : List.of("bytes=0-5242879", "bytes=5242880-5242889")) {
            int number = done.size() + 1;
            var told = c.uploadPartCopy(r -> r.sourceBucket(bucket).sourceKey("from").copySourceRange(range)
                    .destinationBucket(bucket).destinationKey("k").uploadId(upload).partNumber(number));
            done.add(CompletedPart.builder().partNumber(number).eTag(told.copyPartResult().eTag()).build());
        }
        c.completeMultipartUpload(r -> r.bucket(bucket).key("k").uploadId(upload).multipartUpload(m -> m.parts(done)));
        sameBytes(get(bucket, "k"), Arrays.copyOf(content, 5242890), "object");
    }

    static void multipartListAbort() throws Exception {
        String bucket = bucket();
        List<String> uploads = new ArrayList<>();
        for (String key : List.of("a", "b", "b")) {
            uploads.add(c.createMultipartUpload(r -> r.bucket(bucket).key(key)).uploadId());
        }
        String first = uploads.get(0);
        for (int number = 0; number < 5; number++) {
            int index = number;
            c.uploadPart(r -> r.bucket(bucket).key("a").uploadId(first).partNumber(2 * index + 1), RequestBody.fromBytes(body(index)));
        }
        List<String> parts = new ArrayList<>();
        for (var page : c.listPartsPaginator(r -> r.bucket(bucket).key("a").uploadId(first).maxParts(2))) {
            page.parts().forEach(each -> parts.add(each.partNumber() + ":" + each.size()));
        }
        same(parts, List.of("1:0", "3:1", "5:2", "7:3", "9:4"), "parts");
        List<String> found = new ArrayList<>();
        for (var page : c.listMultipartUploadsPaginator(r -> r.bucket(bucket).maxUploads(1))) {
            page.uploads().forEach(each -> found.add(each.uploadId()));
        }
        Collections.sort(found);
        Collections.sort(uploads);
        same(found, uploads, "uploads");
        c.abortMultipartUpload(r -> r.bucket(bucket).key("a").uploadId(first));
        refused("NoSuchUpload", 404, () -> c.listParts(r -> r.bucket(bucket).key("a").uploadId(first)));
        refused(NoSuchUploadException.class, "NoSuchUpload", 404,
                () -> c.abortMultipartUpload(r -> r.bucket(bucket).key("b").uploadId(first)));
    }

    static void complete(String bucket, String upload, CompletedPart... parts) {
        c.completeMultipartUpload(r -> r.bucket(bucket).key("k").uploadId(upload).multipartUpload(m -> m.parts(parts)));
    }

    static void multipartRefused() throws Exception {
        String bucket = bucket();
        String upload = c.createMultipartUpload(r -> r.bucket(bucket).key("k")).uploadId();
        CompletedPart[] done = new CompletedPart[2];
        for (int index = 0; index < 2; index++) {
            int number = index + 1;
            var told = c.uploadPart(r -> r.bucket(bucket).key("k").uploadId(upload).partNumber(number), RequestBody.fromString("too small"));
            done[index] = CompletedPart.builder().partNumber(number).eTag(told.eTag()).build();
        }
        refused("InvalidPartOrder", 400, () -> complete(bucket, upload, done[1], done[0]));
        refused("EntityTooSmall", 400, () -> complete(bucket, upload, done[0], done[1]));
        refused("InvalidPart", 400, () -> complete(bucket, upload, done[0], done[0].toBuilder().partNumber(7).build()));
        complete(bucket, upload, done[1]);
        same(text(bucket, "k"), "too small", "object of one part");
    }

    /** A client that sends and gets what is large in parts by itself. */
    static S3AsyncClient inPartsByItself() {
        S3AsyncClient made = settings(S3AsyncClient.builder()).multipartEnabled(true)
                .multipartConfiguration(m -> m.minimumPartSizeInBytes(5L * MIB).thresholdInBytes(6L * MIB)).build();
        afterwards(made::close);
        return made;
    }

    static Path file(byte[] content) throws Exception {
        Path made = Files.createTempFile("sdk-java", null);
        afterwards(() -> Files.deleteIfExists(made));
        return Files.write(made, content);
    }

    static void transferUpload() throws Exception {
        String bucket = bucket();
        byte[] content = body(17 * MIB + 3);
        Path source = file(content);
        try (var manager = S3TransferManager.builder().s3Client(inPartsByItself()).build()) {
            manager.uploadFile(u -> u.source(source).putObjectRequest(r -> r.bucket(bucket).key("k"))).completionFuture().get();
        }
        var kept = head(bucket, "k");
        ok(kept.eTag().endsWith("-4\""), kept.eTag());
        ok(kept.checksumCRC32() != null, "no CRC32");
        sameBytes(get(bucket, "k"), content, "object");
    }

    static void transferDownload() throws Exception {
        String bucket = bucket();
        byte[] content = body(12 * MIB);
        inParts(bucket, "parts", List.of(Arrays.copyOf(content, 7 * MIB), Arrays.copyOfRange(content, 7 * MIB, 12 * MIB)));
        put(bucket, "whole", content);
        try (var manager = S3TransferManager.builder().s3Client(inPartsByItself()).build()) {
            for (String key : List.of("parts", "whole")) {
                Path to = file(new byte[0]);
                manager.downloadFile(d -> d.destination(to).getObjectRequest(r -> r.bucket(bucket).key(key))).completionFuture().get();
                sameBytes(Files.readAllBytes(to), content, key);
            }
        }
    }

    static void transferUnknownLength() throws Exception {
        String bucket = bucket();
        ExecutorService pool = Executors.newSingleThreadExecutor();
        afterwards(pool::shutdown);
        S3AsyncClient client = inPartsByItself();
        for (int size : new int[] {0, 100, 11 * MIB}) {
            var from = AsyncRequestBody.fromInputStream(i -> i.inputStream(stream(body(size))).contentLength(null).executor(pool));
            client.putObject(r -> r.bucket(bucket).key("k"), from).get();
            sameBytes(get(bucket, "k"), body(size), "object");
        }
    }

    static void streamTrailer() {
        String bucket = bucket();
        AtomicReference<SdkHttpRequest> sent = new AtomicReference<>();
        S3Client watched = client(b -> b.overrideConfiguration(o -> o.addExecutionInterceptor(new ExecutionInterceptor() {
            @Override
            public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
                sent.set(context.httpRequest());
            }
        })));
        for (int size : new int[] {0, 1, 3 * MIB + 5}) {
            byte[] content = body(size);
            var told = watched.putObject(r -> r.bucket(bucket).key("k").checksumAlgorithm(ChecksumAlgorithm.CRC32_C).contentEncoding("zstd"),
                    RequestBody.fromInputStream(stream(content), size));
            same(sent.get().firstMatchingHeader("x-amz-trailer").orElse(""), "x-amz-checksum-crc32c", "trailer");
            // Over plain HTTP, this SDK signs each chunk.
            same(sent.get().firstMatchingHeader("x-amz-content-sha256").orElse(""), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "kind");
            same(head(bucket, "k").checksumCRC32C(), told.checksumCRC32C(), "CRC32C");
            same(head(bucket, "k").contentEncoding(), "zstd", "encoding");
            sameBytes(get(bucket, "k"), content, "object");
        }
    }

    static S3Presigner presigner() {
        S3Presigner made = S3Presigner.builder().region(Region.US_EAST_1).endpointOverride(ENDPOINT)
                .credentialsProvider(CREDENTIALS).serviceConfiguration(S3Configuration.builder().pathStyleAccessEnabled(true).build()).build();
        afterwards(made::close);
        return made;
    }

    static void presignedGet() throws Exception {
        String bucket = bucket();
        put(bucket, "ü +.txt", "signed");
        var signed = presigner().presignGetObject(p -> p.signatureDuration(Duration.ofMinutes(1))
                .getObjectRequest(r -> r.bucket(bucket).key("ü +.txt").responseContentType("x/y")));
        HttpResponse<String> answer = plain("GET", signed.url().toString(), null, signed.signedHeaders(), null);
        same(answer.statusCode(), 200, answer.body());
        same(answer.body(), "signed", "body");
        same(answer.headers().firstValue("content-type").orElse(""), "x/y", "type");
        String altered = signed.url().toString().replace("x%2Fy", "x%2Fz");
        same(plain("GET", altered, null, signed.signedHeaders(), null).statusCode(), 403, "status of an altered URL");
    }

    static void presignedPut() throws Exception {
        String bucket = bucket();
        var signed = presigner().presignPutObject(p -> p.signatureDuration(Duration.ofMinutes(1))
                .putObjectRequest(r -> r.bucket(bucket).key("k").contentType("x/y").metadata(Map.of("a", "b"))));
        Map<String, List<String>> other = new java.util.TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        other.putAll(signed.signedHeaders());
        ok(other.containsKey("content-type"), "signed: " + other);
        other.put("content-type", List.of("x/z"));
        same(plain("PUT", signed.url().toString(), null, other, "x").statusCode(), 403, "status with another type");
        HttpResponse<String> answer = plain("PUT", signed.url().toString(), null, signed.signedHeaders(), "content");
        same(answer.statusCode(), 200, answer.body());
        same(text(bucket, "k"), "content", "body");
        same(head(bucket, "k").contentType(), "x/y", "type");
        same(head(bucket, "k").metadata(), Map.of("a", "b"), "metadata");
    }

    static void presignedExpired() throws Exception {
        String bucket = bucket();
        put(bucket, "k", "x");
        var signed = presigner().presignGetObject(p -> p.signatureDuration(Duration.ofSeconds(1)).getObjectRequest(r -> r.bucket(bucket).key("k")));
        Thread.sleep(2200);
        HttpResponse<String> answer = plain("GET", signed.url().toString(), null, Map.of(), null);
        same(answer.statusCode(), 403, "status");
        ok(answer.body().contains("<Code>AccessDenied</Code>") && answer.body().contains("expired"), answer.body());
    }

    static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    static String tags(String bucket) {
        return String.join("&", c.getObjectTagging(r -> r.bucket(bucket).key("k")).tagSet().stream()
                .map(each -> each.key() + "=" + each.value()).sorted().toList());
    }

    static void tagsObject() throws Exception {
        String bucket = bucket();
        c.putObject(r -> r.bucket(bucket).key("k").tagging(Tagging.builder().tagSet(tag("a", "1"), tag("b c", "+")).build()), RequestBody.fromString("x"));
        same(c.getObjectAsBytes(r -> r.bucket(bucket).key("k")).response().tagCount(), 2, "count");
        same(tags(bucket), "a=1&b c=+", "tags");
        c.putObjectTagging(r -> r.bucket(bucket).key("k").tagging(t -> t.tagSet(tag("ü", ""))));
        same(tags(bucket), "ü=", "tags");
        refused("InvalidTag", 400, () -> c.putObjectTagging(r -> r.bucket(bucket).key("k").tagging(t -> t.tagSet(tag("a", ""), tag("a", "")))));
        c.deleteObjectTagging(r -> r.bucket(bucket).key("k"));
        same(tags(bucket), "", "tags");
    }

    static void tagsBucket() throws Exception {
        String bucket = bucket();
        refused("NoSuchTagSet", 404, () -> c.getBucketTagging(r -> r.bucket(bucket)));
        c.putBucketTagging(r -> r.bucket(bucket).tagging(t -> t.tagSet(tag("a", "b"))));
        same(c.getBucketTagging(r -> r.bucket(bucket)).tagSet(), List.of(tag("a", "b")), "tags");
        c.deleteBucketTagging(r -> r.bucket(bucket));
        refused("NoSuchTagSet", 404, () -> c.getBucketTagging(r -> r.bucket(bucket)));
    }

    static void versioning() throws Exception {
        String bucket = bucket();
        same(c.getBucketVersioning(r -> r.bucket(bucket)).status(), null, "status");
        put(bucket, "k", "null");
        enableVersions(bucket);
        same(c.getBucketVersioning(r -> r.bucket(bucket)).status(), BucketVersioningStatus.ENABLED, "status");
        String first = put(bucket, "k", "1").versionId();
        String second = put(bucket, "k", "22").versionId();
        Map.of("null", "null", first, "1", second, "22").forEach((id, content) -> {
            var got = c.getObjectAsBytes(r -> r.bucket(bucket).key("k").versionId(id));
            same(got.asUtf8String(), content, "version " + id);
            same(got.response().versionId(), id, "version id");
            same(c.headObject(r -> r.bucket(bucket).key("k").versionId(id)).contentLength(), (long) content.length(), "length");
        });
        c.deleteObject(r -> r.bucket(bucket).key("k").versionId(second));
        same(text(bucket, "k"), "1", "the one before");
        refused("NoSuchVersion", 404, () -> c.getObjectAsBytes(r -> r.bucket(bucket).key("k").versionId(second)));
    }

    static void deleteMarkers() throws Exception {
        String bucket = bucket();
        enableVersions(bucket);
        put(bucket, "k", "x");
        var told = c.deleteObject(r -> r.bucket(bucket).key("k"));
        same(told.deleteMarker(), true, "delete marker");
        refused(NoSuchKeyException.class, "NoSuchKey", 404, () -> get(bucket, "k"));
        refused("MethodNotAllowed", 405, () -> c.getObjectAsBytes(r -> r.bucket(bucket).key("k").versionId(told.versionId())));
        refused(null, 405, () -> c.headObject(r -> r.bucket(bucket).key("k").versionId(told.versionId())));
        same(c.deleteObject(r -> r.bucket(bucket).key("k").versionId(told.versionId())).deleteMarker(), true, "delete marker");
        same(text(bucket, "k"), "x", "body");
    }

    static void lockRetention() throws Exception {
        String bucket = bucket(r -> r.objectLockEnabledForBucket(true));
        c.putObjectLockConfiguration(r -> r.bucket(bucket).objectLockConfiguration(l -> l.objectLockEnabled(ObjectLockEnabled.ENABLED)
                .rule(u -> u.defaultRetention(d -> d.mode(ObjectLockRetentionMode.GOVERNANCE).days(1)))));
        same(c.getObjectLockConfiguration(r -> r.bucket(bucket)).objectLockConfiguration().rule().defaultRetention().days(), 1, "days");
        String version = put(bucket, "k", "x").versionId();
        var kept = head(bucket, "k");
        same(kept.objectLockMode(), ObjectLockMode.GOVERNANCE, "mode");
        ok(kept.objectLockRetainUntilDate().isAfter(Instant.now().plus(23, ChronoUnit.HOURS)), "until " + kept.objectLockRetainUntilDate());
        refused("AccessDenied", 403, () -> c.deleteObject(r -> r.bucket(bucket).key("k").versionId(version)));
        Instant until = Instant.now().plus(48, ChronoUnit.HOURS).truncatedTo(ChronoUnit.SECONDS);
        c.putObjectRetention(r -> r.bucket(bucket).key("k").retention(t -> t.mode(ObjectLockRetentionMode.GOVERNANCE).retainUntilDate(until)));
        same(c.getObjectRetention(r -> r.bucket(bucket).key("k")).retention().retainUntilDate(), until, "until");
        c.deleteObject(r -> r.bucket(bucket).key("k").versionId(version).bypassGovernanceRetention(true));
    }

    static void lockHold() throws Exception {
        String bucket = bucket(r -> r.objectLockEnabledForBucket(true));
        String version = c.putObject(r -> r.bucket(bucket).key("k").objectLockLegalHoldStatus(ObjectLockLegalHoldStatus.ON),
                RequestBody.fromString("x")).versionId();
        same(c.getObjectLegalHold(r -> r.bucket(bucket).key("k")).legalHold().status(), ObjectLockLegalHoldStatus.ON, "hold");
        refused("AccessDenied", 403,
                () -> c.deleteObject(r -> r.bucket(bucket).key("k").versionId(version).bypassGovernanceRetention(true)));
        c.putObjectLegalHold(r -> r.bucket(bucket).key("k").legalHold(h -> h.status(ObjectLockLegalHoldStatus.OFF)));
        c.deleteObject(r -> r.bucket(bucket).key("k").versionId(version));
    }

    static void cors() throws Exception {
        String bucket = bucket();
        CORSRule rule = CORSRule.builder().allowedMethods("GET", "PUT").allowedOrigins("https://*.example.com").maxAgeSeconds(9).build();
        c.putBucketCors(r -> r.bucket(bucket).corsConfiguration(f -> f.corsRules(rule)));
        var got = c.getBucketCors(r -> r.bucket(bucket)).corsRules();
        same(got.get(0).allowedMethods(), rule.allowedMethods(), "methods");
        same(got.get(0).maxAgeSeconds(), 9, "age");
        c.deleteBucketCors(r -> r.bucket(bucket));
        refused("NoSuchCORSConfiguration", 404, () -> c.getBucketCors(r -> r.bucket(bucket)));
    }

    static void errorNoSuchKey() throws Exception {
        String bucket = bucket();
        var error = refused(NoSuchKeyException.class, "NoSuchKey", 404, () -> get(bucket, "missing"));
        ok(error.requestId() != null && !error.requestId().isEmpty(), "no request id");
        // This SDK has no other type for what a HEAD, which has no body, does not find.
        refused(NoSuchKeyException.class, null, 404, () -> head(bucket, "missing"));
        refused("NoSuchKey", 404,
                () -> c.copyObject(r -> r.sourceBucket(bucket).sourceKey("missing").destinationBucket(bucket).destinationKey("k")));
    }

    static void errorNoSuchBucket() throws Exception {
        String name = newName();
        refused(NoSuchBucketException.class, "NoSuchBucket", 404, () -> c.listObjectsV2(r -> r.bucket(name)));
        refused("NoSuchBucket", 404, () -> get(name, "k"));
        refused("NoSuchBucket", 404, () -> put(name, "k", "x"));
        refused("NoSuchBucket", 404, () -> c.deleteBucket(r -> r.bucket(name)));
    }

    static void errorBucket() throws Exception {
        String bucket = bucket();
        put(bucket, "k", "");
        refused("BucketNotEmpty", 409, () -> c.deleteBucket(r -> r.bucket(bucket)));
        try {
            c.createBucket(r -> r.bucket(bucket));
        } catch (BucketAlreadyOwnedByYouException expected) {
            // The first region answers with success, as S3's does; the others so.
        }
        try {
            c.createBucket(r -> r.bucket("No_Name"));
            ok(false, "a bucket has a name that is none");
        } catch (IllegalArgumentException expected) {
            // This SDK does not even ask the server.
        }
    }

    static void errorCredentials() throws Exception {
        Map<String, String> codes = Map.of(System.getenv("SDK_ACCESS_KEY"), "SignatureDoesNotMatch", "AKIAUNKNOWN", "InvalidAccessKeyId");
        for (var each : codes.entrySet()) {
            S3Client other = client(b -> b.credentialsProvider(credentials(each.getKey(), "wrong")));
            refused(each.getValue(), 403, () -> other.listBuckets());
        }
    }

    static void inParallel() throws Exception {
        String bucket = bucket();
        parallel(96, number -> {
            byte[] content = body(1000 + number * 3001);
            put(bucket, "k" + number, content);
            sameBytes(get(bucket, "k" + number), content, "k" + number);
            return null;
        });
        same(c.listObjectsV2(r -> r.bucket(bucket)).keyCount(), 96, "keys");
    }

    static void virtualHost() throws Exception {
        String bucket = bucket();
        String key = "ü/ +k";
        var localhost = java.net.URI.create("http://localhost:" + ENDPOINT.getPort());
        S3Client virtual = client(b -> b.endpointOverride(localhost).forcePathStyle(false).httpClient(anyHost()));
        virtual.putObject(r -> r.bucket(bucket).key(key), RequestBody.fromString("x"));
        same(virtual.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asUtf8String(), "x", "body");
        same(text(bucket, key), "x", "body by path");
        same(keys(virtual.listObjectsV2(r -> r.bucket(bucket))), List.of(key), "listed");
        try (var presigner = S3Presigner.builder().region(Region.US_EAST_1).endpointOverride(localhost)
                .credentialsProvider(CREDENTIALS).build()) {
            var url = presigner.presignGetObject(p -> p.signatureDuration(Duration.ofMinutes(1)).getObjectRequest(r -> r.bucket(bucket).key(key))).url();
            same(url.getHost(), bucket + ".localhost", "host");
            String there = ENDPOINT + url.getFile();
            same(plain("GET", there, url.getAuthority(), Map.of(), null).body(), "x", "body");
        }
        virtual.deleteObject(r -> r.bucket(bucket).key(key));
        refused(NoSuchKeyException.class, "NoSuchKey", 404, () -> virtual.getObjectAsBytes(r -> r.bucket(bucket).key(key)));
    }

    static void clockSkew() throws Exception {
        String bucket = bucket();
        // What the SDK takes its clock to be late by, in seconds: new clients sign as if it were an hour later than it is.
        SdkGlobalTime.setGlobalTimeOffset(-3600);
        afterwards(() -> SdkGlobalTime.setGlobalTimeOffset(0));
        S3Client once = client(b -> b.overrideConfiguration(o -> o.retryStrategy(r -> r.maxAttempts(1))));
        refused("RequestTimeTooSkewed", 403, () -> once.listObjectsV2(r -> r.bucket(bucket)));
        SdkGlobalTime.setGlobalTimeOffset(-3600);
        client(any -> {}).putObject(r -> r.bucket(bucket).key("k"), RequestBody.fromString("x"));
        same(text(bucket, "k"), "x", "body");
    }
}
