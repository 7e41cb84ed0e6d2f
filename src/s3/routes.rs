//! Operations beside those of s3s: it takes one route.

use http::{Extensions, HeaderMap, Method, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use super::Api;
use super::complete::Complete;
use super::guard::Guard;
use super::host::Domains;
use super::listen::Listen;

/// All of them.
#[derive(Debug, Clone)]
pub struct Routes {
    complete: Complete,
    listen: Listen,
}

impl Routes {
    /// The operations of the store behind `api`, for those whom `guard` lets through.
    pub fn new(api: Api, guard: Guard, domains: Domains) -> Self {
        Self {
            complete: Complete::new(api.clone(), guard.clone(), domains.clone()),
            listen: Listen::new(api, guard, domains),
        }
    }

    /// The one for a request of this method that belongs to any of them.
    fn of(&self, method: &Method) -> &dyn S3Route {
        if *method == Method::POST { &self.complete } else { &self.listen }
    }
}

#[async_trait::async_trait]
impl S3Route for Routes {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, extensions: &mut Extensions) -> bool {
        self.of(method).is_match(method, uri, headers, extensions)
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        self.of(&request.method.clone()).check_access(request).await
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        self.of(&request.method.clone()).call(request).await
    }
}
