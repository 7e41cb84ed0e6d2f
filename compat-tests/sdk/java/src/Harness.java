import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import org.apache.hc.client5.http.DnsResolver;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.SdkHttpClient;
import software.amazon.awssdk.http.apache5.Apache5HttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3BaseClientBuilder;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3ClientBuilder;
import software.amazon.awssdk.services.s3.model.BucketVersioningStatus;
import software.amazon.awssdk.services.s3.model.ChecksumMode;
import software.amazon.awssdk.services.s3.model.CreateBucketRequest;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.ListObjectsV2Response;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.PutObjectResponse;
import software.amazon.awssdk.services.s3.model.S3Object;

/** What the behaviours share: clients, how a behaviour says that it fails, buckets that go when it is through, and the report. */
class Harness {
    static {
        // For requests by plain HTTP to hosts that no name server knows.
        System.setProperty("jdk.httpclient.allowRestrictedHeaders", "host");
    }

    static final int KIB = 1 << 10;
    static final int MIB = 1 << 20;
    static final URI ENDPOINT = URI.create(System.getenv("SDK_ENDPOINT"));
    static final StaticCredentialsProvider CREDENTIALS =
            credentials(System.getenv("SDK_ACCESS_KEY"), System.getenv("SDK_SECRET_KEY"));
    static final SdkHttpClient HTTP = Apache5HttpClient.builder().maxConnections(64).build();
    static final S3Client c = client(any -> {});
    static final HttpClient PLAIN = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    static final String PREFIX = "sdk-java-" + ProcessHandle.current().pid() + "-";

    private static int numbers;
    private static final List<Check> after = new ArrayList<>();

    /** Something that may fail. */
    interface Check {
        void run() throws Exception;
    }

    static StaticCredentialsProvider credentials(String key, String secret) {
        return StaticCredentialsProvider.create(AwsBasicCredentials.create(key, secret));
    }

    /** What all clients have; everything else is the SDK's default. */
    static <B extends S3BaseClientBuilder<B, ?>> B settings(B builder) {
        return builder.region(Region.US_EAST_1)
                .endpointOverride(ENDPOINT)
                .credentialsProvider(CREDENTIALS)
                .forcePathStyle(true)
                .overrideConfiguration(o -> o.retryStrategy(r -> r.maxAttempts(2)).apiCallTimeout(Duration.ofMinutes(1)));
    }

    static S3Client client(Consumer<S3ClientBuilder> change) {
        S3ClientBuilder builder = settings(S3Client.builder()).httpClient(HTTP);
        change.accept(builder);
        return builder.build();
    }

    /** Finds every host at the server's address, as wildcards in a name server would. */
    static SdkHttpClient anyHost() {
        DnsResolver resolver = new DnsResolver() {
            @Override
            public InetAddress[] resolve(String host) throws java.net.UnknownHostException {
                return new InetAddress[] {InetAddress.getByName(ENDPOINT.getHost())};
            }

            @Override
            public String resolveCanonicalHostname(String host) {
                return host;
            }
        };
        return Apache5HttpClient.builder().dnsResolver(resolver).build();
    }

    // --- how a behaviour says that it fails

    static void ok(boolean is, Object message) {
        if (!is) {
            throw new AssertionError(message);
        }
    }

    static void same(Object got, Object wanted, String what) {
        ok(Objects.equals(got, wanted), what + ": " + got + " instead of " + wanted);
    }

    static void sameBytes(byte[] got, byte[] wanted, String what) {
        ok(Arrays.equals(got, wanted), what + ": " + got.length + " other bytes instead of " + wanted.length);
    }

    /** The call must fail with the SDK's own type for it, this code (any if null) and status. */
    static <E extends AwsServiceException> E refused(Class<E> type, String code, int status, Check call) throws Exception {
        try {
            call.run();
        } catch (AwsServiceException error) {
            same(error.statusCode(), status, "status of " + error);
            if (code != null) {
                same(error.awsErrorDetails().errorCode(), code, "code of " + error);
            }
            ok(type.isInstance(error), error + " is no " + type.getSimpleName());
            return type.cast(error);
        }
        throw new AssertionError("it succeeded instead of " + code + " " + status);
    }

    static void refused(String code, int status, Check call) throws Exception {
        refused(AwsServiceException.class, code, status, call);
    }

    // --- what they do

    static byte[] body(int size) {
        byte[] content = new byte[size];
        new Random(size).nextBytes(content);
        return content;
    }

    static String newName() {
        return PREFIX + ++numbers;
    }

    static void afterwards(Check what) {
        after.add(what);
    }

    static String bucket() {
        return bucket(any -> {});
    }

    static String bucket(Consumer<CreateBucketRequest.Builder> change) {
        String name = newName();
        c.createBucket(r -> change.accept(r.bucket(name)));
        afterwards(() -> remove(name));
        return name;
    }

    private static void remove(String bucket) {
        c.listMultipartUploads(r -> r.bucket(bucket)).uploads().forEach(each ->
                c.abortMultipartUpload(r -> r.bucket(bucket).key(each.key()).uploadId(each.uploadId())));
        for (var page : c.listObjectVersionsPaginator(r -> r.bucket(bucket))) {
            List<ObjectIdentifier> found = new ArrayList<>();
            page.versions().forEach(each -> found.add(version(each.key(), each.versionId())));
            page.deleteMarkers().forEach(each -> found.add(version(each.key(), each.versionId())));
            if (!found.isEmpty()) {
                var told = c.deleteObjects(r -> r.bucket(bucket).delete(d -> d.objects(found)).bypassGovernanceRetention(true));
                same(told.errors(), List.of(), "errors of emptying the bucket");
            }
        }
        c.deleteBucket(r -> r.bucket(bucket));
    }

    static ObjectIdentifier version(String key, String id) {
        return ObjectIdentifier.builder().key(key).versionId(id).build();
    }

    static PutObjectResponse put(String bucket, String key, byte[] content) {
        return c.putObject(r -> r.bucket(bucket).key(key), RequestBody.fromBytes(content));
    }

    static PutObjectResponse put(String bucket, String key, String content) {
        return put(bucket, key, utf8(content));
    }

    static byte[] get(String bucket, String key) {
        return c.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asByteArray();
    }

    static String text(String bucket, String key) {
        return c.getObjectAsBytes(r -> r.bucket(bucket).key(key)).asUtf8String();
    }

    static HeadObjectResponse head(String bucket, String key) {
        return c.headObject(r -> r.bucket(bucket).key(key).checksumMode(ChecksumMode.ENABLED));
    }

    static void enableVersions(String bucket) {
        c.putBucketVersioning(r -> r.bucket(bucket).versioningConfiguration(v -> v.status(BucketVersioningStatus.ENABLED)));
    }

    static List<String> keys(ListObjectsV2Response page) {
        return page.contents().stream().map(S3Object::key).toList();
    }

    static byte[] utf8(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    /** A stream that cannot go back, and whose length nobody knows. */
    static InputStream stream(byte[] content) {
        return new java.io.FilterInputStream(new ByteArrayInputStream(content)) {
            @Override
            public int available() {
                return 0;
            }

            @Override
            public boolean markSupported() {
                return false;
            }
        };
    }

    /** Does `work` for 0..count, 32 at a time. */
    static <T> List<T> parallel(int count, IntFunction<T> work) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(32);
        try {
            List<Callable<T>> all = new ArrayList<>();
            for (int index = 0; index < count; index++) {
                int number = index;
                all.add(() -> work.apply(number));
            }
            List<T> results = new ArrayList<>();
            for (Future<T> each : pool.invokeAll(all)) {
                results.add(each.get());
            }
            return results;
        } catch (ExecutionException error) {
            throw new AssertionError(error.getCause());
        } finally {
            pool.shutdown();
        }
    }

    static List<String> putMany(String bucket, int count, String name) throws Exception {
        return parallel(count, number -> {
            String key = String.format(name, number);
            put(bucket, key, "" + number);
            return key;
        });
    }

    /** What a plain HTTP client is answered; with a host, that host's name is sent to the server's address. */
    static HttpResponse<String> plain(String method, String url, String host, Map<String, List<String>> headers, String content)
            throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(30));
        request.method(method, content == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(content));
        headers.forEach((name, values) -> {
            if (!name.equalsIgnoreCase("host") && !name.equalsIgnoreCase("content-length")) {
                request.setHeader(name, String.join(",", values));
            }
        });
        if (host != null) {
            request.setHeader("host", host);
        }
        return PLAIN.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    // --- running them

    /** Tries the behaviours, or those that are named, and prints a line of JSON for each. */
    static void run(Map<String, Check> behaviours, List<String> only) {
        behaviours.forEach((name, behaviour) -> {
            if (!only.isEmpty() && !only.contains(name)) {
                return;
            }
            long start = System.nanoTime();
            String problem = problemOf(behaviour, "");
            for (Check each : after) {
                String late = problemOf(each, "afterwards: ");
                problem = problem.isEmpty() ? late : problem;
            }
            after.clear();
            System.out.printf("{\"name\": %s, \"ok\": %s, \"message\": %s, \"seconds\": %s}%n",
                    json(name), problem.isEmpty(), json(problem), (System.nanoTime() - start) / 1e9);
        });
    }

    private static String problemOf(Check what, String where) {
        try {
            what.run();
            return "";
        } catch (Exception | AssertionError error) {
            StringBuilder said = new StringBuilder(where).append(error);
            for (StackTraceElement each : error.getStackTrace()) {
                if (each.getClassName().startsWith("Main")) {
                    said.append("\n    at ").append(each);
                }
            }
            return said.toString();
        }
    }

    private static String json(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            if (each == '"' || each == '\\') {
                quoted.append('\\').append(each);
            } else if (each < ' ' || each > '~') {
                quoted.append(String.format("\\u%04x", (int) each));
            } else {
                quoted.append(each);
            }
        }
        return quoted.append('"').toString();
    }
}
