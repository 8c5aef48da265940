//! Routes a method to a handler. The functions are those of `axum::routing`, for handlers whose types are erased.
//!
//! axum builds its services for the type of each handler, and for each of them the compiler proves again, many times, that
//! everything the handler awaits can move between threads. That took two thirds of the time to compile this crate.

use crate::Web;
use axum::{
    extract::Request,
    handler::Handler,
    response::Response,
    routing::{self, MethodFilter, MethodRouter},
};
use std::{pin::Pin, sync::Arc};

/// What a handler that is a function returns.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler of any type.
#[derive(Clone)]
struct Erased(Arc<dyn Fn(Request, Web) -> ResponseFuture + Send + Sync>);

impl Handler<(), Web> for Erased {
    type Future = ResponseFuture;

    fn call(self, request: Request, web: Web) -> ResponseFuture {
        (self.0)(request, web)
    }
}

fn erased<T>(handler: impl Handler<T, Web, Future = ResponseFuture>) -> Erased {
    Erased(Arc::new(move |request, web| handler.clone().call(request, web)))
}

/// Routes requests with the methods of `filter` to `handler`.
pub(crate) fn on<T>(
    filter: MethodFilter,
    handler: impl Handler<T, Web, Future = ResponseFuture>,
) -> MethodRouter<Web> {
    routing::on(filter, erased(handler))
}

/// Routes requests with any method to `handler`.
pub(crate) fn any<T>(handler: impl Handler<T, Web, Future = ResponseFuture>) -> MethodRouter<Web> {
    routing::any(erased(handler))
}

/// Routes GET and HEAD requests to `handler`.
pub(crate) fn get<T>(handler: impl Handler<T, Web, Future = ResponseFuture>) -> MethodRouter<Web> {
    on(MethodFilter::GET, handler)
}

/// Routes POST requests to `handler`.
pub(crate) fn post<T>(handler: impl Handler<T, Web, Future = ResponseFuture>) -> MethodRouter<Web> {
    on(MethodFilter::POST, handler)
}

/// Routes PUT requests to `handler`.
pub(crate) fn put<T>(handler: impl Handler<T, Web, Future = ResponseFuture>) -> MethodRouter<Web> {
    on(MethodFilter::PUT, handler)
}

/// Routes PATCH requests to `handler`.
pub(crate) fn patch<T>(handler: impl Handler<T, Web, Future = ResponseFuture>) -> MethodRouter<Web> {
    on(MethodFilter::PATCH, handler)
}

/// Routes DELETE requests to `handler`.
pub(crate) fn delete<T>(handler: impl Handler<T, Web, Future = ResponseFuture>) -> MethodRouter<Web> {
    on(MethodFilter::DELETE, handler)
}
