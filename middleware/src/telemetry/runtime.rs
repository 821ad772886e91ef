//! What is known of the process and of its Tokio runtime when somebody asks: no layer writes it.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Opts, Registry};
use tokio::runtime::{Handle, RuntimeMetrics};

use super::catalogue::{METRICS, VERSION};

/// Registers it; the process's own metrics exist on Linux alone.
pub(super) fn register(registry: &Registry) -> prometheus::Result<()> {
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    registry.register(Box::new(Runtime::new(Handle::current().metrics())?))
}

/// A value that a runtime has at this moment.
type Read = fn(&RuntimeMetrics) -> f64;

const READS: [(&str, Read); 6] = [
    ("dipylon_build_info", |_| 1.0),
    ("dipylon_runtime_workers", |runtime| runtime.num_workers() as f64),
    ("dipylon_runtime_alive_tasks", |runtime| runtime.num_alive_tasks() as f64),
    ("dipylon_runtime_queue_depth", |runtime| runtime.global_queue_depth() as f64),
    ("dipylon_runtime_busy_seconds_total", |runtime| {
        let workers = 0..runtime.num_workers();
        workers.map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64()).sum()
    }),
    ("dipylon_runtime_parks_total", |runtime| {
        let workers = 0..runtime.num_workers();
        workers.map(|worker| runtime.worker_park_count(worker) as f64).sum()
    }),
];

struct Runtime {
    metrics: RuntimeMetrics,
    descriptions: Vec<Desc>,
}

impl Runtime {
    fn new(metrics: RuntimeMetrics) -> prometheus::Result<Self> {
        use prometheus::core::Describer as _;
        let describe = |(name, _): &(&str, Read)| Opts::new(*name, help(name)).describe();
        let descriptions = READS.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { metrics, descriptions })
    }
}

/// As the catalogue has it.
fn help(name: &str) -> &'static str {
    METRICS.iter().find(|metric| metric.name == name).map_or("", |metric| metric.help.trim())
}

impl Collector for Runtime {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        READS.iter().map(|(name, read)| family(name, read(&self.metrics))).collect()
    }
}

fn family(name: &str, value: f64) -> MetricFamily {
    let mut metric = Metric::from_label(labels(name));
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help(name).to_owned());
    if name.ends_with("_total") {
        let mut counter = prometheus::proto::Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        family.set_field_type(MetricType::COUNTER);
    } else {
        let mut gauge = prometheus::proto::Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        family.set_field_type(MetricType::GAUGE);
    }
    family.set_metric(vec![metric]);
    family
}

fn labels(name: &str) -> Vec<LabelPair> {
    let is_versioned = name == "dipylon_build_info";
    let pair = |(value, _): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(VERSION.name.to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    if is_versioned { VERSION.values.iter().map(pair).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_runtime_and_the_process_are_exposed_as_the_catalogue_declares_them() {
        let registry = Registry::new();
        register(&registry).expect("nothing is there yet");
        let gathered = registry.gather();
        let of_process = |name: &str| name.starts_with("process_");
        for (name, _) in READS {
            let family = gathered.iter().find(|family| family.name() == name).expect(name);
            assert_eq!(family.get_metric().len(), 1);
        }
        for family in &gathered {
            let info = METRICS.iter().find(|metric| metric.name == family.name());
            let info = info.unwrap_or_else(|| panic!("{} is not declared", family.name()));
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            assert_eq!(kind, info.kind.as_str(), "{}", info.name);
        }
        let declared = METRICS.iter().filter(|metric| of_process(metric.name)).count();
        let there = gathered.iter().filter(|family| of_process(family.name())).count();
        assert_eq!(there, if cfg!(target_os = "linux") { declared } else { 0 });
    }
}
