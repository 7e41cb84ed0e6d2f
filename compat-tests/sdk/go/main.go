// Ninefold seen through the AWS SDK for Go: one function for each behaviour of ../behaviours.json.
//
// It prints a line of JSON for each: {"name": ..., "ok": ..., "message": ...}. See ../../test_sdks.py for what it is given.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

const region = "us-east-1"

var (
	ctx, stop = context.WithTimeout(context.Background(), 4*time.Minute)
	address   = strings.TrimPrefix(os.Getenv("SDK_ENDPOINT"), "http://")
	c         = client(nil)
	numbers   atomic.Int64
)

// A client with the SDK's defaults, but for what `change` says.
func client(change func(*s3.Options)) *s3.Client {
	options := s3.Options{
		Region:       region,
		BaseEndpoint: aws.String(os.Getenv("SDK_ENDPOINT")),
		UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(
			os.Getenv("SDK_ACCESS_KEY"), os.Getenv("SDK_SECRET_KEY"), ""),
		// What config.LoadDefaultConfig says when nobody says otherwise.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		Retryer:                    retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 2 }),
	}
	if change != nil {
		change(&options)
	}
	return s3.New(options)
}

// An HTTP client that finds every host at the server's address, as wildcards in a name server would.
func anyHost() *http.Client {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
	}}
}

// --- how a behaviour says that it fails

type failure string

func check(ok bool, format string, arguments ...any) {
	if !ok {
		panic(failure(fmt.Sprintf(format, arguments...)))
	}
}

func same[T comparable](got, wanted T, what string) {
	check(got == wanted, "%s: %v instead of %v", what, got, wanted)
}

func sameList[T comparable](got, wanted []T, what string) {
	check(slices.Equal(got, wanted), "%s: %v instead of %v", what, got, wanted)
}

func sameBytes(got, wanted []byte, what string) {
	check(bytes.Equal(got, wanted), "%s: %d other bytes instead of %d", what, len(got), len(wanted))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(failure(err.Error()))
	}
	return value
}

// The call must have failed with this code (any if empty) and status.
func refused(err error, code string, status int) {
	check(err != nil, "it succeeded instead of %s", code)
	var api smithy.APIError
	var answer interface{ HTTPStatusCode() int }
	check(errors.As(err, &answer), "no answer: %v", err)
	same(answer.HTTPStatusCode(), status, "status of "+err.Error())
	if code != "" {
		check(errors.As(err, &api), "no S3 error: %v", err)
		same(api.ErrorCode(), code, "code of "+err.Error())
	}
}

// The call must have failed with the SDK's own type E.
func typed[E error](err error) E {
	var wanted E
	check(errors.As(err, &wanted), "%v is no %T", err, wanted)
	return wanted
}

// --- what behaviours share

func body(size int) []byte {
	content := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(content)
	return content
}

func newName() string { return fmt.Sprintf("sdk-go-%d-%d", os.Getpid(), numbers.Add(1)) }

// A new bucket, emptied and removed when the behaviour is through.
func bucket(b *behaviour, changes ...func(*s3.CreateBucketInput)) *string {
	input := &s3.CreateBucketInput{Bucket: aws.String(newName())}
	for _, change := range changes {
		change(input)
	}
	must(c.CreateBucket(ctx, input))
	b.after = append(b.after, func() { remove(input.Bucket) })
	return input.Bucket
}

func remove(bucket *string) {
	uploads := must(c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket}))
	for _, upload := range uploads.Uploads {
		must(c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: upload.Key, UploadId: upload.UploadId}))
	}
	pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: bucket})
	for pages.HasMorePages() {
		page := must(pages.NextPage(ctx))
		var found []types.ObjectIdentifier
		for _, each := range page.Versions {
			found = append(found, types.ObjectIdentifier{Key: each.Key, VersionId: each.VersionId})
		}
		for _, each := range page.DeleteMarkers {
			found = append(found, types.ObjectIdentifier{Key: each.Key, VersionId: each.VersionId})
		}
		if len(found) > 0 {
			told := must(c.DeleteObjects(ctx, &s3.DeleteObjectsInput{
				Bucket: bucket, Delete: &types.Delete{Objects: found}, BypassGovernanceRetention: aws.Bool(true)}))
			same(len(told.Errors), 0, "errors of emptying the bucket")
		}
	}
	must(c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}))
}

func put(bucket *string, key string, content []byte) *s3.PutObjectOutput {
	return must(c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(content)}))
}

func read(output *s3.GetObjectOutput) []byte {
	defer output.Body.Close()
	return must(io.ReadAll(output.Body))
}

func get(bucket *string, key string) []byte {
	return read(must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})))
}

func head(bucket *string, key string) *s3.HeadObjectOutput {
	return must(c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled}))
}

func enableVersions(bucket *string) {
	must(c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}))
}

// Runs `do` for 0..count, up to 32 at a time, and fails as the first that fails.
func parallel(count int, do func(int)) {
	var wait sync.WaitGroup
	turns := make(chan struct{}, 32)
	failed := make(chan any, count)
	for number := range count {
		wait.Add(1)
		turns <- struct{}{}
		go func() {
			defer func() {
				if problem := recover(); problem != nil {
					failed <- problem
				}
				<-turns
				wait.Done()
			}()
			do(number)
		}()
	}
	wait.Wait()
	select {
	case problem := <-failed:
		panic(problem)
	default:
	}
}

func putMany(bucket *string, count int, name string) []string {
	keys := make([]string, count)
	parallel(count, func(number int) {
		keys[number] = fmt.Sprintf(name, number)
		put(bucket, keys[number], []byte{byte(number)})
	})
	return keys
}

// What a plain HTTP client is answered: the status and the body.
func plain(request *http.Request, with *http.Client) (int, string) {
	answer := must(with.Do(request))
	defer answer.Body.Close()
	return answer.StatusCode, string(must(io.ReadAll(answer.Body)))
}

func request(method, url string, content []byte, headers http.Header) *http.Request {
	made := must(http.NewRequestWithContext(ctx, method, url, bytes.NewReader(content)))
	for name, values := range headers {
		// The Go client takes Host and Content-Length from fields of the request.
		if name != "Host" && name != "Content-Length" {
			made.Header[name] = values
		}
	}
	return made
}

// --- running them

type behaviour struct {
	name  string
	do    func(*behaviour)
	after []func()
}

func (b *behaviour) run() (problem string) {
	defer func() {
		for _, after := range b.after {
			func() {
				defer func() {
					if caught := recover(); caught != nil && problem == "" {
						problem = fmt.Sprintf("afterwards: %v", caught)
					}
				}()
				after()
			}()
		}
	}()
	defer func() {
		if caught := recover(); caught != nil {
			problem = fmt.Sprint(caught)
			if problem == "" {
				problem = "it failed"
			}
		}
	}()
	b.do(b)
	return ""
}

func main() {
	defer stop()
	output := json.NewEncoder(os.Stdout)
	for _, each := range all {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], each.name) {
			continue
		}
		start := time.Now()
		problem := each.run()
		must(0, output.Encode(map[string]any{
			"name": each.name, "ok": problem == "", "message": problem, "seconds": time.Since(start).Seconds()}))
	}
}
