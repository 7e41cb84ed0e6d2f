//! The names that S3 takes in bucket policies: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>.
//!
//! A name that means nothing is an error there and not a statement without effect.

use std::sync::LazyLock;

use super::pattern::Glob;

/// Actions on buckets, in lower case; the last lines are MinIO's own.
const OF_BUCKETS: &str = "createbucket createbucketmetadatatableconfiguration deletebucket deletebucketmetadatatableconfiguration \
    deletebucketpolicy deletebucketwebsite getaccelerateconfiguration getanalyticsconfiguration getbucketabac getbucketacl getbucketcors \
    getbucketlocation getbucketlogging getbucketmetadatatableconfiguration getbucketnotification getbucketobjectlockconfiguration \
    getbucketownershipcontrols getbucketpolicy getbucketpolicystatus getbucketpublicaccessblock getbucketrequestpayment getbuckettagging \
    getbucketversioning getbucketwebsite getencryptionconfiguration getintelligenttieringconfiguration getinventoryconfiguration \
    getlifecycleconfiguration getmetricsconfiguration getreplicationconfiguration listbucket listbucketmultipartuploads \
    listbucketversions putaccelerateconfiguration putanalyticsconfiguration putbucketabac putbucketacl putbucketcors putbucketlogging \
    putbucketnotification putbucketobjectlockconfiguration putbucketownershipcontrols putbucketpolicy putbucketpublicaccessblock \
    putbucketrequestpayment putbuckettagging putbucketversioning putbucketwebsite putencryptionconfiguration \
    putintelligenttieringconfiguration putinventoryconfiguration putlifecycleconfiguration putmetricsconfiguration \
    putreplicationconfiguration updatebucketmetadatainventorytableconfiguration updatebucketmetadatajournaltableconfiguration \
    deletebucketcors forcedeletebucket headbucket listenbucketnotification resetbucketreplicationstate";

/// Actions on objects, in lower case.
const OF_OBJECTS: &str = "abortmultipartupload bypassgovernanceretention deleteobject deleteobjecttagging deleteobjectversion \
    deleteobjectversiontagging getobject getobjectacl getobjectattributes getobjectlegalhold getobjectretention getobjecttagging \
    getobjecttorrent getobjectversion getobjectversionacl getobjectversionattributes getobjectversionforreplication \
    getobjectversiontagging getobjectversiontorrent initiatereplication listmultipartuploadparts objectowneroverridetobucketowner \
    putobject putobjectacl putobjectlegalhold putobjectretention putobjecttagging putobjectversionacl putobjectversiontagging \
    replicatedelete replicateobject replicatetags restoreobject updateobjectencryption";

/// Actions that have no bucket, in lower case.
const OF_NEITHER: &str = "createjob createstoragelensgroup getaccountpublicaccessblock listaccesspoints listallmybuckets listjobs \
    putaccountpublicaccessblock";

/// Condition keys, in lower case; `/`: the rest is the name of a tag.
const KEYS: &str = "aws:assumedroot aws:chatbotsourcearn aws:calledvia aws:calledviafirst aws:calledvialast aws:currenttime aws:ec2instancesourceprivateipv4 \
    aws:ec2instancesourcevpc aws:epochtime \
    aws:federatedprovider aws:multifactorauthage aws:multifactorauthpresent aws:principalaccount aws:principalarn \
    aws:principalisawsservice aws:principalorgid aws:principalorgpaths aws:principalservicename aws:principalservicenameslist \
    aws:principaltag/ aws:principaltype aws:referer aws:requestedregion aws:requesttag/ aws:resourceaccount aws:resourceorgid \
    aws:resourceorgpaths aws:resourcetag/ aws:securetransport aws:sourceaccount aws:sourcearn aws:sourceidentity aws:sourceip \
    aws:sourceorgid aws:sourceorgpaths aws:sourceowner aws:sourcevpc aws:sourcevpcarn aws:sourcevpce aws:tagkeys aws:tokenissuetime \
    aws:useragent aws:userid aws:username aws:viaawsservice aws:vpceaccount aws:vpceorgid aws:vpceorgpaths aws:vpcsourceip \
    s3:accessgrantsinstancearn s3:accesspointnetworkorigin s3:accesspointtag/ s3:authtype s3:buckettag/ s3:dataaccesspointaccount \
    s3:dataaccesspointarn s3:delimiter s3:destinationregion s3:existingobjecttag/ s3:if-match s3:if-none-match \
    s3:inventoryaccessibleoptionalfields s3:locationconstraint s3:max-keys s3:object-lock-legal-hold s3:object-lock-mode \
    s3:object-lock-remaining-retention-days s3:object-lock-retain-until-date s3:objectcreationoperation s3:prefix s3:requestobjecttag/ \
    s3:requestobjecttagkeys s3:resourceaccount s3:resourcetag/ s3:signatureage s3:signatureversion s3:tlsversion s3:versionid s3:x-amz-acl \
    s3:x-amz-content-sha256 s3:x-amz-copy-source s3:x-amz-grant-full-control s3:x-amz-grant-read s3:x-amz-grant-read-acp \
    s3:x-amz-grant-write s3:x-amz-grant-write-acp s3:x-amz-metadata-directive s3:x-amz-object-ownership \
    s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id \
    s3:x-amz-server-side-encryption-customer-algorithm s3:x-amz-storage-class s3:x-amz-website-redirect-location";

/// What the actions that a pattern matches are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct On {
    pub(super) buckets: bool,
    pub(super) objects: bool,
    /// It matches any action at all.
    pub(super) known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Bucket,
    Object,
    Neither,
}

/// What actions like this, in lower case, are on.
pub(super) fn actions(pattern: &Glob) -> On {
    static ACTIONS: LazyLock<Vec<(String, Place)>> = LazyLock::new(|| {
        let kinds = [(OF_BUCKETS, Place::Bucket), (OF_OBJECTS, Place::Object), (OF_NEITHER, Place::Neither)];
        let full = |(names, place): (&'static str, Place)| {
            names.split_ascii_whitespace().map(move |name| (format!("s3:{name}"), place))
        };
        kinds.into_iter().flat_map(full).collect()
    });
    let any = |place| ACTIONS.iter().any(|(name, own)| *own == place && pattern.matches(name));
    let (buckets, objects) = (any(Place::Bucket), any(Place::Object));
    On { buckets, objects, known: buckets || objects || any(Place::Neither) }
}

/// Whether a request to S3 may have a condition key, in lower case.
pub(super) fn is_key(key: &str) -> bool {
    KEYS.split_ascii_whitespace().any(|name| match name.strip_suffix('/') {
        None => name == key,
        Some(_) => key.len() > name.len() && key.starts_with(name),
    })
}
