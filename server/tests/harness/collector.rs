//! A collector of traces for tests: it takes spans by OTLP over gRPC and keeps them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

impl Collector {
    /// Listens on a free port of the current runtime.
    pub fn listen(&self) -> SocketAddr {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone());
        let serving = tonic::transport::Server::builder().serve_with_incoming(service, incoming);
        tokio::spawn(serving);
        address
    }

    /// Gives all spans, each with the service instance that made it.
    pub fn all(&self) -> Vec<(String, Span)> {
        let requests = self.0.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let spans = resources.flat_map(|resource| {
            let instance = instance(resource);
            let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(move |span| (instance.clone(), span.clone()))
        });
        spans.collect()
    }

    /// Gives the spans of a trace.
    pub fn spans(&self, trace: &str) -> Vec<Span> {
        let of = self.all().into_iter().map(|(_, span)| span);
        of.filter(|span| hex(&span.trace_id) == trace).collect()
    }

    /// Gives all that it got, as text that can be searched.
    pub fn everything(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }
}

/// Gives an id as it is written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gives the id of the service instance behind spans.
fn instance(spans: &ResourceSpans) -> String {
    let attributes = spans.resource.iter().flat_map(|resource| &resource.attributes);
    text(attributes, "service.instance.id").unwrap_or_default()
}

/// Gives an attribute that is a text.
pub fn text<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>, key: &str) -> Option<String> {
    let found = attributes.into_iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}
