package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	tm "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	tmtypes "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

var s = aws.String

var all = []*behaviour{
	{name: "bucket-life", do: func(*behaviour) {
		name := s(newName())
		must(c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name}))
		same(aws.ToString(must(c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: name})).BucketRegion), region, "region")
		// The first region's name is the empty one.
		same(must(c.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: name})).LocationConstraint, "", "location")
		must(c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name}))
		_, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: name})
		refused(err, "", 404)
		typed[*types.NotFound](err)
	}},
	{name: "bucket-list", do: func(b *behaviour) {
		first, second := bucket(b), bucket(b)
		var found []string
		prefix := fmt.Sprintf("sdk-go-%d-", os.Getpid())
		pages := s3.NewListBucketsPaginator(c, &s3.ListBucketsInput{Prefix: &prefix, MaxBuckets: aws.Int32(1)})
		for pages.HasMorePages() {
			for _, each := range must(pages.NextPage(ctx)).Buckets {
				check(time.Since(*each.CreationDate).Abs() < time.Hour, "created %v", each.CreationDate)
				found = append(found, *each.Name)
			}
		}
		check(slices.Contains(found, *first) && slices.Contains(found, *second), "%v", found)
	}},
	{name: "body-empty", do: func(b *behaviour) { roundTrip(b, 0) }},
	{name: "body-small", do: func(b *behaviour) { roundTrip(b, 11) }},
	{name: "body-64k", do: func(b *behaviour) { roundTrip(b, 64*kib) }},
	{name: "body-1m", do: func(b *behaviour) { roundTrip(b, mib+1) }},
	{name: "body-20m", do: func(b *behaviour) { roundTrip(b, 20*mib) }},
	{name: "delete", do: func(b *behaviour) {
		bucket := bucket(b)
		put(bucket, "k", []byte("x"))
		for range 2 {
			must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k")}))
		}
		_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: s("k")})
		refused(err, "", 404)
	}},
	{name: "checksum-default", do: func(b *behaviour) {
		bucket := bucket(b)
		told := put(bucket, "k", body(70*kib))
		check(aws.ToString(told.ChecksumCRC32) != "", "no CRC32 in the answer")
		same(aws.ToString(head(bucket, "k").ChecksumCRC32), *told.ChecksumCRC32, "CRC32")
		got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k")}))
		sameBytes(read(got), body(70*kib), "body")
		validated, ok := s3.GetChecksumValidationMetadata(got.ResultMetadata)
		check(ok, "the SDK did not verify the download")
		sameList(validated.AlgorithmsUsed, []string{"CRC32"}, "verified by")
	}},
	{name: "checksum-when-required", do: func(b *behaviour) {
		bucket := bucket(b)
		less := client(func(o *s3.Options) {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		})
		must(less.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: bytes.NewReader(body(mib))}))
		same(aws.ToString(head(bucket, "k").ChecksumCRC32), "", "CRC32 nobody asked for")
		sameBytes(read(must(less.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k")}))), body(mib), "body")
	}},
	{name: "checksum-algorithms", do: func(b *behaviour) {
		bucket := bucket(b)
		for _, algorithm := range []types.ChecksumAlgorithm{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
			for _, size := range []int{0, 3, 200 * kib} {
				key := fmt.Sprintf("%s-%d", algorithm, size)
				told := must(c.PutObject(ctx, &s3.PutObjectInput{
					Bucket: bucket, Key: &key, Body: bytes.NewReader(body(size)), ChecksumAlgorithm: algorithm}))
				kept := head(bucket, key)
				pairs := map[types.ChecksumAlgorithm][2]*string{
					"CRC32": {told.ChecksumCRC32, kept.ChecksumCRC32}, "CRC32C": {told.ChecksumCRC32C, kept.ChecksumCRC32C},
					"CRC64NVME": {told.ChecksumCRC64NVME, kept.ChecksumCRC64NVME},
					"SHA1":      {told.ChecksumSHA1, kept.ChecksumSHA1}, "SHA256": {told.ChecksumSHA256, kept.ChecksumSHA256}}
				for which, pair := range pairs {
					check((which == algorithm) == (aws.ToString(pair[0]) != ""), "%s told of %s", which, key)
					same(aws.ToString(pair[1]), aws.ToString(pair[0]), "kept "+string(which)+" of "+key)
				}
				same(kept.ChecksumType, types.ChecksumTypeFullObject, "type")
				got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled}))
				sameBytes(read(got), body(size), key)
				validated, _ := s3.GetChecksumValidationMetadata(got.ResultMetadata)
				sameList(validated.AlgorithmsUsed, []string{string(algorithm)}, "verified by")
			}
		}
	}},
	{name: "checksum-wrong", do: func(b *behaviour) {
		bucket := bucket(b)
		other := sha256.Sum256([]byte("other"))
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("this"),
			ChecksumSHA256: s(base64.StdEncoding.EncodeToString(other[:]))})
		refused(err, "BadDigest", 400)
		sum := md5.Sum([]byte("other"))
		_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("this"),
			ContentMD5: s(base64.StdEncoding.EncodeToString(sum[:]))})
		refused(err, "BadDigest", 400)
		_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: s("k")})
		refused(err, "", 404)
	}},
	{name: "attributes", do: func(b *behaviour) {
		bucket := bucket(b)
		told := put(bucket, "k", body(100))
		got := must(c.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{Bucket: bucket, Key: s("k"),
			ObjectAttributes: []types.ObjectAttributes{"ETag", "Checksum", "ObjectSize", "StorageClass", "ObjectParts"}}))
		same(aws.ToInt64(got.ObjectSize), 100, "size")
		same(`"`+aws.ToString(got.ETag)+`"`, *told.ETag, "ETag")
		same(aws.ToString(got.Checksum.ChecksumCRC32), *told.ChecksumCRC32, "CRC32")
	}},
	{name: "range", do: func(b *behaviour) {
		bucket := bucket(b)
		content := body(300*kib + 7)
		put(bucket, "k", content)
		for asked, want := range map[string][2]int{
			"bytes=0-0": {0, 1}, "bytes=65535-65536": {65535, 65537}, "bytes=100-": {100, len(content)},
			"bytes=-10": {len(content) - 10, len(content)}, "bytes=307200-999999": {307200, len(content)}} {
			got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"), Range: s(asked)}))
			sameBytes(read(got), content[want[0]:want[1]], asked)
			same(aws.ToString(got.ContentRange), fmt.Sprintf("bytes %d-%d/%d", want[0], want[1]-1, len(content)), asked)
			same(aws.ToString(got.AcceptRanges), "bytes", "Accept-Ranges")
		}
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"), Range: s("bytes=307207-")})
		refused(err, "InvalidRange", 416)
	}},
	{name: "part-number", do: func(b *behaviour) {
		bucket := bucket(b)
		parts := [][]byte{body(5 * mib), body(1000)}
		multipart(bucket, "k", parts)
		for index, part := range parts {
			number := aws.Int32(int32(index + 1))
			got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"), PartNumber: number}))
			sameBytes(read(got), part, "part")
			same(aws.ToInt32(got.PartsCount), 2, "count of parts")
			told := must(c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: s("k"), PartNumber: number}))
			same(*told.ContentLength, int64(len(part)), "length of part")
		}
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"), PartNumber: aws.Int32(3)})
		refused(err, "InvalidPartNumber", 416)
	}},
	{name: "conditional-read", do: func(b *behaviour) {
		bucket := bucket(b)
		etag := put(bucket, "k", []byte("x")).ETag
		early, late := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		for _, each := range []struct {
			input  s3.GetObjectInput
			status int
		}{
			{s3.GetObjectInput{IfMatch: etag}, 200},
			{s3.GetObjectInput{IfMatch: s(`"other"`)}, 412},
			{s3.GetObjectInput{IfNoneMatch: etag}, 304},
			{s3.GetObjectInput{IfNoneMatch: s(`"other"`)}, 200},
			{s3.GetObjectInput{IfModifiedSince: &early}, 200},
			{s3.GetObjectInput{IfModifiedSince: head(bucket, "k").LastModified}, 304},
			{s3.GetObjectInput{IfUnmodifiedSince: &early}, 412},
			{s3.GetObjectInput{IfUnmodifiedSince: &late}, 200},
			// Both: the ETag's word counts.
			{s3.GetObjectInput{IfMatch: etag, IfUnmodifiedSince: &early}, 200},
			{s3.GetObjectInput{IfNoneMatch: etag, IfModifiedSince: &early}, 304},
		} {
			each.input.Bucket, each.input.Key = bucket, s("k")
			got, err := c.GetObject(ctx, &each.input)
			_, headErr := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: s("k"), IfMatch: each.input.IfMatch,
				IfNoneMatch: each.input.IfNoneMatch, IfModifiedSince: each.input.IfModifiedSince,
				IfUnmodifiedSince: each.input.IfUnmodifiedSince})
			switch each.status {
			case 200:
				sameBytes(read(must(got, err)), []byte("x"), "body")
				must(0, headErr)
			case 412:
				refused(err, "PreconditionFailed", 412)
				refused(headErr, "", 412)
			default:
				refused(err, "", each.status)
				refused(headErr, "", each.status)
			}
		}
	}},
	{name: "conditional-write", do: func(b *behaviour) {
		bucket := bucket(b)
		write := func(content, match, noneMatch string) error {
			input := &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader(content)}
			if match != "" {
				input.IfMatch = &match
			}
			if noneMatch != "" {
				input.IfNoneMatch = &noneMatch
			}
			_, err := c.PutObject(ctx, input)
			return err
		}
		refused(write("0", `"00000000000000000000000000000000"`, ""), "NoSuchKey", 404)
		must(0, write("1", "", "*"))
		refused(write("2", "", "*"), "PreconditionFailed", 412)
		must(0, write("3", *head(bucket, "k").ETag, ""))
		refused(write("4", `"00000000000000000000000000000000"`, ""), "PreconditionFailed", 412)
		sameBytes(get(bucket, "k"), []byte("3"), "body")
	}},
	{name: "metadata", do: func(b *behaviour) {
		bucket := bucket(b)
		given := map[string]string{"plain": "value", "MiXed-Case": "a  b", "comma": "a, b;c=\"d\"", "utf8": "grün ☃"}
		must(c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("x"), Metadata: given}))
		kept := head(bucket, "k").Metadata
		same(kept["plain"], "value", "metadata")
		same(kept["mixed-case"], "a  b", "metadata")
		same(kept["comma"], given["comma"], "metadata")
		// Bytes that are not ASCII come back as S3 sends them: as an encoded word of RFC 2047.
		same(must(new(mime.WordDecoder).DecodeHeader(kept["utf8"])), given["utf8"], "metadata of other than ASCII")
		same(len(kept), 4, "number of metadata")
	}},
	{name: "headers", do: func(b *behaviour) {
		bucket := bucket(b)
		expires := time.Date(2040, 1, 2, 3, 4, 5, 0, time.UTC)
		must(c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("x"),
			ContentType: s("text/x-odd; charset=utf-8"), ContentEncoding: s("zstd"), ContentLanguage: s("de, en"),
			ContentDisposition: s(`attachment; filename="a b.txt"`), CacheControl: s("no-store"), Expires: &expires}))
		got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k")}))
		sameBytes(read(got), []byte("x"), "body")
		same(*got.ContentType, "text/x-odd; charset=utf-8", "type")
		same(aws.ToString(got.ContentEncoding), "zstd", "encoding")
		same(aws.ToString(got.ContentLanguage), "de, en", "language")
		same(aws.ToString(got.ContentDisposition), `attachment; filename="a b.txt"`, "disposition")
		same(aws.ToString(got.CacheControl), "no-store", "cache control")
		same(aws.ToString(got.ExpiresString), "Mon, 02 Jan 2040 03:04:05 GMT", "expires")
	}},
	{name: "response-overrides", do: func(b *behaviour) {
		bucket := bucket(b)
		put(bucket, "k", []byte("x"))
		got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"),
			ResponseContentType: s("a/b"), ResponseContentDisposition: s("inline; filename=ü+1.txt"),
			ResponseCacheControl: s("max-age=7"), ResponseContentLanguage: s("fr"), ResponseContentEncoding: s("identity")}))
		read(got)
		same(*got.ContentType, "a/b", "type")
		check(strings.HasPrefix(aws.ToString(got.ContentDisposition), "inline; filename="), "%v", got.ContentDisposition)
		same(aws.ToString(got.CacheControl), "max-age=7", "cache control")
		same(aws.ToString(got.ContentLanguage), "fr", "language")
		same(aws.ToString(got.ContentEncoding), "identity", "encoding")
	}},
	{name: "keys-odd", do: func(b *behaviour) {
		bucket := bucket(b)
		keys := []string{"/leading", "//double//slash/", "a b  c", "a+b", "a%20b", "a%2Fb", "q?uery=1&b#c", `quote"'<>&`, "ü/☃/日本/😀",
			"e\u0301", "../up", "a/../b", "./dot", ".", "..", "a/.", "tilde~!*()@$,;:=", "back\\slash", "{[|]}^`"}
		for _, key := range keys {
			put(bucket, key, []byte(key))
		}
		for _, key := range keys {
			sameBytes(get(bucket, key), []byte(key), key)
		}
		slices.Sort(keys)
		sameList(listed(must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket}))), keys, "listed")
		for _, key := range keys {
			must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &key}))
		}
		sameList(listed(must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket}))), nil, "listed")
	}},
	{name: "keys-long", do: func(b *behaviour) {
		bucket := bucket(b)
		long := strings.Repeat("0123456789abcde/", 64)
		put(bucket, long, []byte("x"))
		sameBytes(get(bucket, long), []byte("x"), "body")
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s(long + "x"), Body: strings.NewReader("x")})
		refused(err, "KeyTooLongError", 400)
	}},
	{name: "copy", do: func(b *behaviour) {
		from, to := bucket(b), bucket(b)
		must(c.PutObject(ctx, &s3.PutObjectInput{Bucket: from, Key: s("ü +%/k"), Body: bytes.NewReader(body(2 * mib)),
			Metadata: map[string]string{"a": "b"}, ContentType: s("x/y")}))
		for _, bucket := range []*string{from, to} {
			told := must(c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: s("copy"), CopySource: s(source(from, "ü +%/k"))}))
			same(*told.CopyObjectResult.ETag, *head(from, "ü +%/k").ETag, "ETag")
			sameBytes(get(bucket, "copy"), body(2*mib), "copy")
			kept := head(bucket, "copy")
			same(kept.Metadata["a"], "b", "metadata")
			same(*kept.ContentType, "x/y", "type")
			same(aws.ToString(kept.ChecksumCRC32), aws.ToString(head(from, "ü +%/k").ChecksumCRC32), "CRC32")
		}
	}},
	{name: "copy-replace", do: func(b *behaviour) {
		bucket := bucket(b)
		must(c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("x"), Metadata: map[string]string{"a": "b"}}))
		_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: s("k"), CopySource: s(source(bucket, "k"))})
		refused(err, "InvalidRequest", 400)
		must(c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: s("k"), CopySource: s(source(bucket, "k")),
			MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"c": "d"}, ContentType: s("x/y")}))
		kept := head(bucket, "k")
		same(len(kept.Metadata), 1, "number of metadata")
		same(kept.Metadata["c"], "d", "metadata")
		same(*kept.ContentType, "x/y", "type")
	}},
	{name: "copy-version", do: func(b *behaviour) {
		bucket := bucket(b)
		enableVersions(bucket)
		old := put(bucket, "k", []byte("old")).VersionId
		put(bucket, "k", []byte("new"))
		told := must(c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: s("k"), CopySource: s(source(bucket, "k") + "?versionId=" + *old)}))
		same(aws.ToString(told.CopySourceVersionId), *old, "version of the source")
		check(aws.ToString(told.VersionId) != *old, "no new version")
		sameBytes(get(bucket, "k"), []byte("old"), "body")
	}},
	{name: "delete-many", do: func(b *behaviour) {
		bucket := bucket(b)
		keys := putMany(bucket, 1000, "key %04d&<>")
		var asked []types.ObjectIdentifier
		for _, key := range keys {
			asked = append(asked, types.ObjectIdentifier{Key: s(key)})
		}
		told := must(c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: asked}}))
		same(len(told.Errors), 0, "errors")
		var deleted []string
		for _, each := range told.Deleted {
			deleted = append(deleted, *each.Key)
		}
		slices.Sort(deleted)
		sameList(deleted, keys, "told to be deleted")
		same(*must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})).KeyCount, 0, "keys left")
	}},
	{name: "delete-many-quiet", do: func(b *behaviour) {
		bucket := bucket(b)
		put(bucket, "a", []byte("x"))
		put(bucket, "b", []byte("x"))
		told := must(c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Quiet: aws.Bool(true),
			Objects: []types.ObjectIdentifier{{Key: s("a")}, {Key: s("missing")}, {Key: s("b"), VersionId: s("no-version")}}}}))
		same(len(told.Deleted), 0, "told to be deleted")
		same(len(told.Errors), 1, "errors")
		same(aws.ToString(told.Errors[0].Key), "b", "key of the error")
		sameList(listed(must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket}))), []string{"b"}, "left")
	}},
	{name: "list-v1", do: func(b *behaviour) {
		bucket := bucket(b)
		keys := putMany(bucket, 25, "k%02d")
		var found []string
		input := &s3.ListObjectsInput{Bucket: bucket, MaxKeys: aws.Int32(10)}
		for pages := 1; ; pages++ {
			page := must(c.ListObjects(ctx, input))
			for _, each := range page.Contents {
				found = append(found, *each.Key)
				check(each.Owner != nil && aws.ToString(each.Owner.ID) != "", "no owner")
			}
			if !*page.IsTruncated {
				same(pages, 3, "pages")
				break
			}
			input.Marker = &found[len(found)-1]
		}
		sameList(found, keys, "listed")
	}},
	{name: "list-v2", do: func(b *behaviour) {
		bucket := bucket(b)
		keys := putMany(bucket, 25, "k%02d")
		put(bucket, "other", nil)
		var found []string
		count := 0
		pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{
			Bucket: bucket, MaxKeys: aws.Int32(7), Prefix: s("k"), StartAfter: s("k02"), FetchOwner: aws.Bool(true)})
		for pages.HasMorePages() {
			page := must(pages.NextPage(ctx))
			found = append(found, listed(page)...)
			same(int(*page.KeyCount), len(page.Contents), "KeyCount")
			check(page.Contents[0].Owner != nil, "no owner")
			count++
		}
		same(count, 4, "pages")
		sameList(found, keys[3:], "listed")
	}},
	{name: "list-delimiter", do: func(b *behaviour) {
		bucket := bucket(b)
		for _, key := range []string{"a", "b/1", "b/2", "c/1", "c/2/3", "d", "e//f"} {
			put(bucket, key, nil)
		}
		var found []string
		pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2), Delimiter: s("/")})
		for pages.HasMorePages() {
			page := must(pages.NextPage(ctx))
			check(*page.KeyCount <= 2, "%d in a page of 2", *page.KeyCount)
			for _, each := range page.CommonPrefixes {
				found = append(found, *each.Prefix)
			}
			found = append(found, listed(page)...)
		}
		slices.Sort(found)
		sameList(found, []string{"a", "b/", "c/", "d", "e/"}, "listed")
		page := must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: s("c/"), Delimiter: s("/")}))
		sameList(listed(page), []string{"c/1"}, "listed")
		same(*page.CommonPrefixes[0].Prefix, "c/2/", "prefix")
	}},
	{name: "list-encoding", do: func(b *behaviour) {
		bucket := bucket(b)
		keys := []string{"a\nb", "c\x01d", "e f+g%h/ü"}
		for _, key := range keys {
			put(bucket, key, nil)
		}
		page := must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, EncodingType: types.EncodingTypeUrl}))
		var decoded []string
		for _, each := range listed(page) {
			check(!strings.ContainsAny(each, "\n\x01 "), "not encoded: %q", each)
			decoded = append(decoded, must(url.QueryUnescape(each)))
		}
		sameList(decoded, keys, "decoded")
		page = must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: s("e")}))
		sameList(listed(page), keys[2:], "not encoded")
		// Else no XML reader could list what is left here, to remove it.
		for _, key := range keys {
			must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &key}))
		}
	}},
	{name: "list-versions", do: func(b *behaviour) {
		bucket := bucket(b)
		enableVersions(bucket)
		var written []string
		for range 3 {
			written = append(written, *put(bucket, "a", []byte("x")).VersionId)
		}
		marker := *must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("a")})).VersionId
		written = append(written, marker, *put(bucket, "b", nil).VersionId)
		var found []string
		latest := map[string]bool{}
		pages := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: bucket, MaxKeys: aws.Int32(2)})
		for pages.HasMorePages() {
			page := must(pages.NextPage(ctx))
			for _, each := range page.DeleteMarkers {
				found = append(found, *each.VersionId)
				latest[*each.VersionId] = *each.IsLatest
			}
			for _, each := range page.Versions {
				found = append(found, *each.VersionId)
				latest[*each.VersionId] = *each.IsLatest
			}
		}
		sameList(found, []string{marker, written[2], written[1], written[0], written[4]}, "versions")
		for _, id := range found {
			same(latest[id], id == marker || id == written[4], "latest")
		}
	}},
	{name: "multipart", do: func(b *behaviour) {
		bucket := bucket(b)
		parts := [][]byte{body(5 * mib), body(5*mib + 1), body(10)}
		told := multipart(bucket, "k", parts)
		check(strings.HasSuffix(*told.ETag, `-3"`), "ETag %s", *told.ETag)
		sameBytes(get(bucket, "k"), bytes.Join(parts, nil), "object")
		check(strings.HasSuffix(aws.ToString(told.ChecksumCRC32), "-3"), "composite CRC32: %v", aws.ToString(told.ChecksumCRC32))
	}},
	{name: "multipart-copy", do: func(b *behaviour) {
		bucket := bucket(b)
		content := body(6 * mib)
		put(bucket, "from", content)
		upload := must(c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: s("k")})).UploadId
		var done []types.CompletedPart
		for index, which := range []string{"bytes=0-5242879", "bytes=5242880-5242889"} {
			number := aws.Int32(int32(index + 1))
			told := must(c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: bucket, Key: s("k"), UploadId: upload, PartNumber: number,
				CopySource: s(source(bucket, "from")), CopySourceRange: s(which)}))
			done = append(done, types.CompletedPart{PartNumber: number, ETag: told.CopyPartResult.ETag})
		}
		must(c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: s("k"), UploadId: upload,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: done}}))
		sameBytes(get(bucket, "k"), content[:5242890], "object")
	}},
	{name: "multipart-list-abort", do: func(b *behaviour) {
		bucket := bucket(b)
		var uploads []string
		for _, key := range []string{"a", "b", "b"} {
			uploads = append(uploads, *must(c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: s(key)})).UploadId)
		}
		for number := range 5 {
			must(c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: s("a"), UploadId: &uploads[0],
				PartNumber: aws.Int32(int32(2*number + 1)), Body: bytes.NewReader(body(number))}))
		}
		var numbers []int32
		pages := s3.NewListPartsPaginator(c, &s3.ListPartsInput{Bucket: bucket, Key: s("a"), UploadId: &uploads[0], MaxParts: aws.Int32(2)})
		for pages.HasMorePages() {
			for _, each := range must(pages.NextPage(ctx)).Parts {
				same(*each.Size, int64(len(numbers)), "size of a part")
				numbers = append(numbers, *each.PartNumber)
			}
		}
		sameList(numbers, []int32{1, 3, 5, 7, 9}, "parts")
		var found []string
		open := s3.NewListMultipartUploadsPaginator(c, &s3.ListMultipartUploadsInput{Bucket: bucket, MaxUploads: aws.Int32(1)})
		for open.HasMorePages() {
			for _, each := range must(open.NextPage(ctx)).Uploads {
				found = append(found, *each.UploadId)
			}
		}
		slices.Sort(found)
		sorted := slices.Clone(uploads)
		slices.Sort(sorted)
		sameList(found, sorted, "uploads")
		must(c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: s("a"), UploadId: &uploads[0]}))
		_, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: s("a"), UploadId: &uploads[0]})
		refused(err, "NoSuchUpload", 404)
		_, err = c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: s("b"), UploadId: &uploads[0]})
		refused(err, "NoSuchUpload", 404)
	}},
	{name: "multipart-refused", do: func(b *behaviour) {
		bucket := bucket(b)
		upload := must(c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: s("k")})).UploadId
		var done []types.CompletedPart
		for number := range int32(2) {
			told := must(c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: s("k"), UploadId: upload,
				PartNumber: aws.Int32(number + 1), Body: strings.NewReader("too small")}))
			done = append(done, types.CompletedPart{PartNumber: aws.Int32(number + 1), ETag: told.ETag})
		}
		complete := func(parts ...types.CompletedPart) error {
			_, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: s("k"), UploadId: upload,
				MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
			return err
		}
		refused(complete(done[1], done[0]), "InvalidPartOrder", 400)
		refused(complete(done[0], done[1]), "EntityTooSmall", 400)
		refused(complete(done[0], types.CompletedPart{PartNumber: aws.Int32(7), ETag: done[0].ETag}), "InvalidPart", 400)
		must(0, complete(done[1]))
		sameBytes(get(bucket, "k"), []byte("too small"), "object of one part")
	}},
	{name: "transfer-upload", do: func(b *behaviour) {
		bucket := bucket(b)
		content := body(17*mib + 3)
		manager := tm.New(c, func(o *tm.Options) { o.PartSizeBytes = 5 * mib; o.MultipartUploadThreshold = 6 * mib })
		must(manager.UploadObject(ctx, &tm.UploadObjectInput{Bucket: bucket, Key: s("k"), Body: bytes.NewReader(content)}))
		kept := head(bucket, "k")
		check(strings.HasSuffix(*kept.ETag, `-4"`), "ETag %s", *kept.ETag)
		check(aws.ToString(kept.ChecksumCRC32) != "", "no CRC32")
		sameBytes(get(bucket, "k"), content, "object")
	}},
	{name: "transfer-download", do: func(b *behaviour) {
		bucket := bucket(b)
		content := body(12 * mib)
		multipart(bucket, "parts", [][]byte{content[:5*mib], content[5*mib : 10*mib], content[10*mib:]})
		put(bucket, "whole", content)
		for _, kind := range []tmtypes.GetObjectType{tmtypes.GetObjectParts, tmtypes.GetObjectRanges} {
			manager := tm.New(c, func(o *tm.Options) { o.PartSizeBytes = 5 * mib; o.GetObjectType = kind })
			for _, key := range []string{"parts", "whole"} {
				file := must(os.CreateTemp("", "sdk-go"))
				defer os.Remove(file.Name())
				must(manager.DownloadObject(ctx, &tm.DownloadObjectInput{Bucket: bucket, Key: &key, WriterAt: file}))
				sameBytes(must(os.ReadFile(file.Name())), content, fmt.Sprintf("%s by %s", key, kind))
				file.Close()
				got := must(manager.GetObject(ctx, &tm.GetObjectInput{Bucket: bucket, Key: &key}))
				sameBytes(must(io.ReadAll(got.Body)), content, fmt.Sprintf("%s read by %s", key, kind))
			}
		}
	}},
	{name: "transfer-unknown-length", do: func(b *behaviour) {
		bucket := bucket(b)
		manager := tm.New(c, func(o *tm.Options) { o.PartSizeBytes = 5 * mib })
		for _, size := range []int{0, 100, 11 * mib} {
			// The reader is nothing but a reader, so that nobody can ask it for its length.
			only := struct{ io.Reader }{bytes.NewReader(body(size))}
			must(manager.UploadObject(ctx, &tm.UploadObjectInput{Bucket: bucket, Key: s("k"), Body: only}))
			sameBytes(get(bucket, "k"), body(size), "object")
		}
	}},
	{name: "stream-trailer", do: func(b *behaviour) {
		bucket := bucket(b)
		// This SDK sends trailers over TLS only. The proxy that adds TLS is ours.
		secure := behindTLS(b)
		for _, size := range []int{0, 1, 3*mib + 5} {
			content := body(size)
			only := struct{ io.Reader }{bytes.NewReader(content)}
			told := must(secure.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: only,
				ContentLength: aws.Int64(int64(size)), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ContentEncoding: s("zstd")}))
			same(aws.ToString(head(bucket, "k").ChecksumCRC32C), aws.ToString(told.ChecksumCRC32C), "CRC32C")
			sameBytes(get(bucket, "k"), content, "object")
			same(aws.ToString(head(bucket, "k").ContentEncoding), "zstd", "encoding")
		}
	}},
	{name: "presigned-get", do: func(b *behaviour) {
		bucket := bucket(b)
		put(bucket, "ü +.txt", []byte("signed"))
		signed := must(s3.NewPresignClient(c).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("ü +.txt"),
			ResponseContentType: s("x/y")}, s3.WithPresignExpires(time.Minute)))
		answer := must(http.DefaultClient.Do(request("GET", signed.URL, nil, signed.SignedHeader)))
		defer answer.Body.Close()
		same(string(must(io.ReadAll(answer.Body))), "signed", "body")
		same(answer.Header.Get("Content-Type"), "x/y", "type")
		status, _ := plain(request("GET", strings.Replace(signed.URL, "x%2Fy", "x%2Fz", 1), nil, signed.SignedHeader), http.DefaultClient)
		same(status, 403, "status of an altered URL")
	}},
	{name: "presigned-put", do: func(b *behaviour) {
		bucket := bucket(b)
		signed := must(s3.NewPresignClient(c).PresignPutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), ContentType: s("x/y"),
			Metadata: map[string]string{"a": "b"}}))
		made := request("PUT", signed.URL, []byte("x"), signed.SignedHeader)
		made.Header.Set("Content-Type", "x/z")
		status, _ := plain(made, http.DefaultClient)
		same(status, 403, "status with another type")
		status, told := plain(request("PUT", signed.URL, []byte("content"), signed.SignedHeader), http.DefaultClient)
		same(status, 200, "status: "+told)
		sameBytes(get(bucket, "k"), []byte("content"), "body")
		same(*head(bucket, "k").ContentType, "x/y", "type")
		same(head(bucket, "k").Metadata["a"], "b", "metadata")
	}},
	{name: "presigned-expired", do: func(b *behaviour) {
		bucket := bucket(b)
		put(bucket, "k", []byte("x"))
		signed := must(s3.NewPresignClient(c).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k")}, s3.WithPresignExpires(time.Second)))
		time.Sleep(2200 * time.Millisecond)
		status, told := plain(request("GET", signed.URL, nil, nil), http.DefaultClient)
		same(status, 403, "status")
		check(strings.Contains(told, "<Code>AccessDenied</Code>") && strings.Contains(told, "expired"), "%s", told)
	}},
	{name: "tags-object", do: func(b *behaviour) {
		bucket := bucket(b)
		must(c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("x"), Tagging: s("a=1&b%20c=%2B")}))
		same(aws.ToInt32(must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k")})).TagCount), 2, "count")
		tags := func() string {
			var found []string
			for _, each := range must(c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: s("k")})).TagSet {
				found = append(found, *each.Key+"="+*each.Value)
			}
			slices.Sort(found)
			return strings.Join(found, "&")
		}
		same(tags(), "a=1&b c=+", "tags")
		must(c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: s("k"),
			Tagging: &types.Tagging{TagSet: []types.Tag{{Key: s("ü"), Value: s("")}}}}))
		same(tags(), "ü=", "tags")
		_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: s("k"),
			Tagging: &types.Tagging{TagSet: []types.Tag{{Key: s("a"), Value: s("")}, {Key: s("a"), Value: s("")}}}})
		refused(err, "InvalidTag", 400)
		must(c.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: s("k")}))
		same(tags(), "", "tags")
	}},
	{name: "tags-bucket", do: func(b *behaviour) {
		bucket := bucket(b)
		none := func() {
			_, err := c.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: bucket})
			refused(err, "NoSuchTagSet", 404)
		}
		none()
		must(c.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: bucket, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: s("a"), Value: s("b")}}}}))
		same(*must(c.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: bucket})).TagSet[0].Value, "b", "tag")
		must(c.DeleteBucketTagging(ctx, &s3.DeleteBucketTaggingInput{Bucket: bucket}))
		none()
	}},
	{name: "versioning", do: func(b *behaviour) {
		bucket := bucket(b)
		same(must(c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: bucket})).Status, "", "status")
		put(bucket, "k", []byte("null"))
		enableVersions(bucket)
		same(must(c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: bucket})).Status, types.BucketVersioningStatusEnabled, "status")
		first, second := put(bucket, "k", []byte("1")).VersionId, put(bucket, "k", []byte("22")).VersionId
		for id, content := range map[string]string{"null": "null", *first: "1", *second: "22"} {
			got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"), VersionId: &id}))
			same(string(read(got)), content, "version "+id)
			same(*got.VersionId, id, "version id")
			same(*must(c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: s("k"), VersionId: &id})).ContentLength, int64(len(content)), "length")
		}
		must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k"), VersionId: second}))
		sameBytes(get(bucket, "k"), []byte("1"), "the one before")
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"), VersionId: second})
		refused(err, "NoSuchVersion", 404)
	}},
	{name: "delete-markers", do: func(b *behaviour) {
		bucket := bucket(b)
		enableVersions(bucket)
		put(bucket, "k", []byte("x"))
		told := must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k")}))
		check(aws.ToBool(told.DeleteMarker), "no delete marker")
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k")})
		typed[*types.NoSuchKey](err)
		_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("k"), VersionId: told.VersionId})
		refused(err, "MethodNotAllowed", 405)
		_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: s("k"), VersionId: told.VersionId})
		refused(err, "", 405)
		gone := must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k"), VersionId: told.VersionId}))
		check(aws.ToBool(gone.DeleteMarker), "the removed is not told to be a marker")
		sameBytes(get(bucket, "k"), []byte("x"), "body")
	}},
	{name: "lock-retention", do: func(b *behaviour) {
		bucket := bucket(b, func(i *s3.CreateBucketInput) { i.ObjectLockEnabledForBucket = aws.Bool(true) })
		must(c.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: bucket,
			ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: "Enabled",
				Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: "GOVERNANCE", Days: aws.Int32(1)}}}}))
		rule := must(c.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: bucket})).ObjectLockConfiguration.Rule
		same(*rule.DefaultRetention.Days, 1, "days")
		version := put(bucket, "k", []byte("x")).VersionId
		kept := head(bucket, "k")
		same(kept.ObjectLockMode, "GOVERNANCE", "mode")
		check(kept.ObjectLockRetainUntilDate.Sub(time.Now()) > 23*time.Hour, "until %v", kept.ObjectLockRetainUntilDate)
		_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k"), VersionId: version})
		refused(err, "AccessDenied", 403)
		until := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
		must(c.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: bucket, Key: s("k"),
			Retention: &types.ObjectLockRetention{Mode: "GOVERNANCE", RetainUntilDate: &until}}))
		same(must(c.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: bucket, Key: s("k")})).Retention.RetainUntilDate.Unix(), until.Unix(), "until")
		must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k"), VersionId: version, BypassGovernanceRetention: aws.Bool(true)}))
	}},
	{name: "lock-hold", do: func(b *behaviour) {
		bucket := bucket(b, func(i *s3.CreateBucketInput) { i.ObjectLockEnabledForBucket = aws.Bool(true) })
		version := must(c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("x"),
			ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn})).VersionId
		same(must(c.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: bucket, Key: s("k")})).LegalHold.Status, "ON", "hold")
		_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k"), VersionId: version, BypassGovernanceRetention: aws.Bool(true)})
		refused(err, "AccessDenied", 403)
		must(c.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{Bucket: bucket, Key: s("k"),
			LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff}}))
		must(c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("k"), VersionId: version}))
	}},
	{name: "cors", do: func(b *behaviour) {
		bucket := bucket(b)
		must(c.PutBucketCors(ctx, &s3.PutBucketCorsInput{Bucket: bucket, CORSConfiguration: &types.CORSConfiguration{CORSRules: []types.CORSRule{
			{AllowedMethods: []string{"GET", "PUT"}, AllowedOrigins: []string{"https://*.example.com"}, MaxAgeSeconds: aws.Int32(9)}}}}))
		rules := must(c.GetBucketCors(ctx, &s3.GetBucketCorsInput{Bucket: bucket})).CORSRules
		sameList(rules[0].AllowedMethods, []string{"GET", "PUT"}, "methods")
		same(*rules[0].MaxAgeSeconds, 9, "age")
		must(c.DeleteBucketCors(ctx, &s3.DeleteBucketCorsInput{Bucket: bucket}))
		_, err := c.GetBucketCors(ctx, &s3.GetBucketCorsInput{Bucket: bucket})
		refused(err, "NoSuchCORSConfiguration", 404)
	}},
	{name: "error-no-such-key", do: func(b *behaviour) {
		bucket := bucket(b)
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("missing")})
		typed[*types.NoSuchKey](err)
		refused(err, "NoSuchKey", 404)
		check(typed[interface {
			error
			ServiceRequestID() string
		}](err).ServiceRequestID() != "", "no request id")
		_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: s("missing")})
		typed[*types.NotFound](err)
		_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: s("k"), CopySource: s(source(bucket, "missing"))})
		refused(err, "NoSuchKey", 404)
	}},
	{name: "error-no-such-bucket", do: func(*behaviour) {
		name := s(newName())
		_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: name})
		typed[*types.NoSuchBucket](err)
		_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: name, Key: s("k")})
		refused(err, "NoSuchBucket", 404)
		_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: name, Key: s("k"), Body: strings.NewReader("x")})
		refused(err, "NoSuchBucket", 404)
		_, err = c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name})
		refused(err, "NoSuchBucket", 404)
	}},
	{name: "error-bucket", do: func(b *behaviour) {
		bucket := bucket(b)
		put(bucket, "k", nil)
		_, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket})
		refused(err, "BucketNotEmpty", 409)
		// The first region answers with success, as S3's does.
		if _, err = c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
			typed[*types.BucketAlreadyOwnedByYou](err)
		}
		_, err = c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: s("No_Name")})
		refused(err, "InvalidBucketName", 400)
	}},
	{name: "error-credentials", do: func(*behaviour) {
		for key, code := range map[string]string{os.Getenv("SDK_ACCESS_KEY"): "SignatureDoesNotMatch", "AKIAUNKNOWN": "InvalidAccessKeyId"} {
			other := client(func(o *s3.Options) { o.Credentials = credentials.NewStaticCredentialsProvider(key, "wrong", "") })
			_, err := other.ListBuckets(ctx, &s3.ListBucketsInput{})
			refused(err, code, 403)
		}
	}},
	{name: "parallel", do: func(b *behaviour) {
		bucket := bucket(b)
		parallel(96, func(number int) {
			key, content := fmt.Sprintf("k%d", number), body(1000+number*3001)
			put(bucket, key, content)
			sameBytes(get(bucket, key), content, key)
		})
		same(*must(c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})).KeyCount, 96, "keys")
	}},
	{name: "virtual-host", do: func(b *behaviour) {
		bucket := bucket(b)
		virtual := client(func(o *s3.Options) {
			o.UsePathStyle = false
			o.HTTPClient = anyHost()
			o.BaseEndpoint = s("http://localhost:" + strings.Split(address, ":")[1])
		})
		must(virtual.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("ü/ +k"), Body: strings.NewReader("x")}))
		sameBytes(read(must(virtual.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("ü/ +k")}))), []byte("x"), "body")
		sameBytes(get(bucket, "ü/ +k"), []byte("x"), "body by path")
		sameList(listed(must(virtual.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket}))), []string{"ü/ +k"}, "listed")
		signed := must(s3.NewPresignClient(virtual).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("ü/ +k")}))
		check(strings.HasPrefix(signed.URL, "http://"+*bucket+".localhost:"), "%s", signed.URL)
		status, told := plain(request("GET", signed.URL, nil, nil), anyHost())
		same(status, 200, told)
		must(virtual.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: s("ü/ +k")}))
		_, err := virtual.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: s("ü/ +k")})
		typed[*types.NoSuchKey](err)
	}},
	{name: "clock-skew", do: func(b *behaviour) {
		bucket := bucket(b)
		fast := func(o *s3.Options) {
			o.HTTPSignerV4 = fastSigner{v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })}
			o.HTTPClient = &http.Client{Transport: fastClock{}}
		}
		_, err := client(func(o *s3.Options) { fast(o); o.DisableClockSkewCorrection = true; o.Retryer = aws.NopRetryer{} }).
			ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
		refused(err, "RequestTimeTooSkewed", 403)
		must(client(fast).PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: s("k"), Body: strings.NewReader("x")}))
	}},
}

// The clock of this process cannot be set, but a clock that is an hour fast can be made up from its two effects: what is
// signed is dated an hour late, and the server's date looks an hour early.
const fastBy = time.Hour

type fastSigner struct{ signer *v4.Signer }

func (f fastSigner) SignHTTP(ctx context.Context, who aws.Credentials, request *http.Request, hash, service, region string,
	when time.Time, options ...func(*v4.SignerOptions)) error {
	return f.signer.SignHTTP(ctx, who, request, hash, service, region, when.Add(fastBy), options...)
}

type fastClock struct{}

func (fastClock) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err == nil {
		date, err := http.ParseTime(answer.Header.Get("Date"))
		if err != nil {
			return nil, fmt.Errorf("the server's Date: %w", err)
		}
		answer.Header.Set("Date", date.Add(-fastBy).UTC().Format(http.TimeFormat))
	}
	return answer, err
}

// A client that speaks TLS to a proxy, which speaks to the server.
func behindTLS(b *behaviour) *s3.Client {
	key := must(ecdsa.GenerateKey(elliptic.P256(), crand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate := must(x509.CreateCertificate(crand.Reader, template, template, key.Public(), key))
	listener := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}}))
	b.after = append(b.after, func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", address)
			if err != nil {
				near.Close()
				continue
			}
			go func() { io.Copy(far, near); far.Close() }()
			go func() { io.Copy(near, far); near.Close() }()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(certificate)))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	b.after = append(b.after, transport.CloseIdleConnections)
	return client(func(o *s3.Options) {
		o.BaseEndpoint = s("https://" + listener.Addr().String())
		o.HTTPClient = &http.Client{Transport: transport, Timeout: time.Minute}
	})
}

func roundTrip(b *behaviour, size int) {
	bucket := bucket(b)
	content := body(size)
	sum := md5.Sum(content)
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	same(*put(bucket, "k", content).ETag, etag, "ETag")
	sameBytes(get(bucket, "k"), content, "body")
	told := head(bucket, "k")
	same(*told.ContentLength, int64(size), "length")
	same(*told.ETag, etag, "ETag")
	check(time.Since(*told.LastModified).Abs() < time.Hour, "last modified %v", told.LastModified)
}

func listed(page *s3.ListObjectsV2Output) []string {
	var keys []string
	for _, each := range page.Contents {
		keys = append(keys, *each.Key)
	}
	return keys
}

// A copy source: the bucket and the key, escaped but for slashes.
func source(bucket *string, key string) string {
	escaped := ""
	for _, each := range []byte(key) {
		if each == '/' || each >= 'a' && each <= 'z' || each >= 'A' && each <= 'Z' || each >= '0' && each <= '9' {
			escaped += string(each)
		} else {
			escaped += fmt.Sprintf("%%%02X", each)
		}
	}
	return *bucket + "/" + escaped
}

// Uploads in parts by hand: from the last to the first, and the first twice.
func multipart(bucket *string, key string, parts [][]byte) *s3.CompleteMultipartUploadOutput {
	upload := must(c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})).UploadId
	done := make([]types.CompletedPart, len(parts))
	send := func(index int, content []byte) {
		number := aws.Int32(int32(index + 1))
		told := must(c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: &key, UploadId: upload, PartNumber: number, Body: bytes.NewReader(content)}))
		done[index] = types.CompletedPart{PartNumber: number, ETag: told.ETag, ChecksumCRC32: told.ChecksumCRC32}
	}
	send(0, []byte("replaced"))
	for index := len(parts) - 1; index >= 0; index-- {
		send(index, parts[index])
	}
	return must(c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: &key, UploadId: upload,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done}}))
}
