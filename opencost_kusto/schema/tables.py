"""The schema: every dataset of OpenCost, its Kusto table and its columns, one line for each column.

From a line follow the type that the value must have, its place in the row, the column of the Kusto table, the JSON
mapping, the docstring in Azure Data Explorer and the data dictionary. To add a column, add a line and run
`python -m opencost_kusto.database.render`, which renders `kql/tables/`. To add a dataset, add a `Table` and a recorded
response in `tests/data`.

Sources are dotted paths into one record of OpenCost's response. New columns go to the end of a table, because Kusto
only appends columns.
"""

from __future__ import annotations

from datetime import timedelta

from opencost_kusto.schema.aggregate import CONTAINER_ROWS, aggregate, asset_types, spelled
from opencost_kusto.schema.columns import (
    Column,
    Derived,
    FromContext,
    FromOption,
    Key,
    RowNumber,
    Table,
    Total,
    Unmapped,
)
from opencost_kusto.schema.derive import (
    asset_name,
    cost_less_adjustment,
    first_of,
    flag,
    moment,
    region_or_cluster_region,
    row_cluster,
    seconds_to_moment,
)
from opencost_kusto.schema.options import Option, RecordFilter, asset_filter, one_of, true_or_unset

_COLLECTED = (
    Column(
        "Timestamp",
        "datetime",
        FromContext("batch.timestamp"),
        "Start of the window, for sums by hour and day (UTC); the same as WindowStart.",
    ),
    Column(
        "CollectionTime",
        "datetime",
        FromContext("run.collection_time"),
        "When the run that loaded the row began (UTC), by Kusto's clock where it could be read.",
    ),
    Column("Source", "string", FromContext("source.name"), "The OpenCost server, by the name of its cluster."),
)
_WINDOW = (
    Column(
        "WindowStart", "datetime", FromContext("batch.window.start"), "Start of the requested window (UTC, inclusive)."
    ),
    Column("WindowEnd", "datetime", FromContext("batch.window.end"), "End of the requested window (UTC, exclusive)."),
    Column("WindowMinutes", "real", FromContext("batch.window.minutes"), "Length of the requested window, in minutes."),
)
_RUN = (
    Column("RunId", "string", FromContext("run.id"), "The run that loaded the row: --run-id, else a generated id."),
    Column("ScenarioName", "string", FromContext("run.scenario_name"), "The scenario given with --scenario-name."),
    Column(
        "Metadata",
        "dynamic",
        FromContext("run.metadata"),
        "The keys and values given with --metadata and read from the CI system.",
    ),
)
_BATCH = Column(
    "BatchId",
    "string",
    FromContext("batch.id"),
    "The batch of the row: table, cluster, window and options of the request, with a digest.",
)
_CLUSTER = Column(
    "Cluster",
    "string",
    FromContext("source.name"),
    "The Kubernetes cluster: the name given by the user, else OpenCost's id.",
)
# Which cluster a row is of: the source's name and id, whether other clusters are kept, and the id in the record.
_OF_CLUSTER = ("source.name", "source.reported", "batch.all_clusters")
_REPORTED = Key("properties.cluster", "string")
_ROW_CLUSTER = Column(
    "Cluster",
    "string",
    Derived(row_cluster, (_REPORTED,), _OF_CLUSTER),
    "The Kubernetes cluster: the name given by the user, else OpenCost's id; with --all-clusters that of the row.",
)
_ALL_CLUSTERS = Option(
    "allClusters",
    "Also keep rows of other clusters, where OpenCost has a Prometheus of several.",
    default=False,
    later=True,
)
_UNMAPPED = Column(
    "Unmapped",
    "dynamic",
    Unmapped(),
    "Keys that OpenCost sent and that have no column yet, by dotted path; usually null.",
)

_CLUSTER_REPORTED = Column(
    "ClusterReported",
    "string",
    "properties.cluster",
    "OpenCost's id for the cluster of the row; null where OpenCost merged rows of several clusters.",
)
_SOURCE_REPORTED = Column("ClusterReported", "string", FromContext("source.reported"), "OpenCost's id for the cluster.")
# What proves that a batch is complete: each number once, as many rows as the last one says, and its cost.
_PROOF = (
    Column("RowNumber", "long", RowNumber(), "Number of the row in its batch, starting at 1."),
    Column("BatchRows", "long", Total("rows"), "Number of rows in the batch; only on its last row."),
    Column(
        "BatchCost",
        "long",
        Total("micros"),
        "Cost of the batch in millionths; only on its last row, null where the table has no cost.",
    ),
    Column(
        "BatchKeys",
        "string",
        Total("keys"),
        "Digest of the keys of the batch's rows, whatever their order; only on its last row.",
    ),
)

# Windows that OpenCost's built-in store keeps by default: COLLECTOR_10M_RESOLUTION_RETENTION and its like in OpenCost's
# source. With a Prometheus behind it, OpenCost has what Prometheus has.
BUILT_IN_STORE = {timedelta(minutes=10): 36, timedelta(hours=1): 49, timedelta(days=1): 15}

ALLOCATION = Table(
    name="OpenCostAllocation",
    dataset="allocation",
    doc="The cost of each workload in each window, from OpenCost's /allocation.",
    path="/allocation",
    records_at="[]",
    retention=BUILT_IN_STORE,
    options=(
        Option(
            "aggregate",
            "container (one row for each container of a pod), pod, namespace, label:NAME, …",
            default=CONTAINER_ROWS,
            parse=aggregate,
            query=lambda value: None if value == CONTAINER_ROWS else spelled(str(value)),
        ),
        Option("includeIdle", "Also request idle cost, as a row.", default=False, query=true_or_unset),
        Option(
            "shareIdle",
            "Share idle cost among the rows; needs --include-idle.",
            default=False,
            query=true_or_unset,
            needs="includeIdle",
        ),
        _ALL_CLUSTERS,
    ),
    cost="TotalCost",
    key=("AllocationName",),
    ignored={"window": "the requested window, which is in WindowStart and WindowEnd"},
    unordered=("properties.services",),
    columns=(
        *_COLLECTED,
        Column(
            "AllocationName", "string", "name", "OpenCost's name of the row, made of the parts that Aggregate lists."
        ),
        *_WINDOW,
        Column("Namespace", "string", "properties.namespace", "Namespace of the workload."),
        Column("Node", "string", "properties.node", "Node that the workload ran on; the last one if it moved."),
        Column("Container", "string", "properties.container", "Container name."),
        Column("Pod", "string", "properties.pod", "Pod name."),
        Column("Controller", "string", "properties.controller", "Name of the controller that owns the pod."),
        Column("ControllerKind", "string", "properties.controllerKind", "Kind of that controller, in lower case."),
        Column("CpuCores", "real", "cpuCores", "CPU cores allocated while running: the larger of request and usage."),
        Column("CpuCoreHours", "real", "cpuCoreHours", "CPU core-hours allocated."),
        Column("CpuCost", "real", "cpuCost", "Cost of the CPU allocated."),
        Column("CpuEfficiency", "real", "cpuEfficiency", "CPU used divided by CPU requested; can be above 1."),
        Column("RamBytes", "real", "ramBytes", "Memory allocated while running, in bytes."),
        Column("RamByteHours", "real", "ramByteHours", "Memory byte-hours allocated."),
        Column("RamCost", "real", "ramCost", "Cost of the memory allocated."),
        Column("RamEfficiency", "real", "ramEfficiency", "Memory used divided by memory requested; can be above 1."),
        Column("GpuCount", "real", "gpuCount", "GPUs allocated while running."),
        Column("GpuHours", "real", "gpuHours", "GPU-hours allocated."),
        Column("GpuCost", "real", "gpuCost", "Cost of the GPUs allocated."),
        Column("NetworkCost", "real", "networkCost", "Cost of network traffic: zone, region and internet together."),
        Column("LoadBalancerCost", "real", "loadBalancerCost", "Cost of the load balancers in front of the workload."),
        Column("PvCost", "real", "pvCost", "Cost of persistent volumes."),
        Column("TotalCost", "real", "totalCost", "Sum of all costs of the row, rounded to five decimals by OpenCost."),
        Column("TotalEfficiency", "real", "totalEfficiency", "CPU and memory efficiency, weighted by their costs."),
        Column("ExternalCost", "real", "externalCost", "Cost from outside the cluster; 0 in OpenCost."),
        Column("SharedCost", "real", "sharedCost", "Cost shared among rows; 0 in OpenCost."),
        Column("Properties", "dynamic", "properties", "All properties of the row, services in alphabetical order."),
        *_RUN,
        _ROW_CLUSTER,
        Column(
            "Aggregate",
            "string",
            FromOption("aggregate"),
            "What a row stands for; do not add up rows with different aggregates.",
        ),
        _BATCH,
        Column(
            "IncludeIdle", "bool", FromOption("includeIdle"), "Whether idle cost was requested, as rows named __idle__."
        ),
        Column("ShareIdle", "bool", FromOption("shareIdle"), "Whether idle cost was shared among the rows."),
        Column(
            "Start",
            "datetime",
            Derived(moment, (Key("start", "string"),)),
            "When the workload started to run in the window (UTC).",
        ),
        Column(
            "End",
            "datetime",
            Derived(moment, (Key("end", "string"),)),
            "When the workload stopped running in the window (UTC).",
        ),
        Column("Minutes", "real", "minutes", "Minutes from Start to End."),
        Column("ProviderID", "string", "properties.providerID", "Id of the node at the cloud provider."),
        Column("Services", "dynamic", "properties.services", "Services that select the pod, in alphabetical order."),
        Column(
            "Labels", "dynamic", "properties.labels", "Labels of pod, namespace and node, by their Prometheus names."
        ),
        Column("Annotations", "dynamic", "properties.annotations", "Annotations of pod and namespace."),
        Column("NamespaceLabels", "dynamic", "properties.namespaceLabels", "Labels of the namespace."),
        Column("NamespaceAnnotations", "dynamic", "properties.namespaceAnnotations", "Annotations of the namespace."),
        Column("CpuCoreRequestAverage", "real", "cpuCoreRequestAverage", "CPU cores requested."),
        Column(
            "CpuCoreLimitAverage", "real", "cpuCoreLimitAverage", "CPU core limit; newer versions of OpenCost only."
        ),
        Column("CpuCoreUsageAverage", "real", "cpuCoreUsageAverage", "CPU cores used on average."),
        Column(
            "CpuCoreUsageMax",
            "real",
            "rawAllocationOnly.cpuCoreUsageMax",
            "Most CPU cores used; null for rows that OpenCost aggregated.",
        ),
        Column("CpuCostAdjustment", "real", "cpuCostAdjustment", "Correction of CpuCost; 0 in OpenCost."),
        Column("CpuCostIdle", "real", "cpuCostIdle", "Idle part of CpuCost; 0 in OpenCost."),
        Column("RamByteRequestAverage", "real", "ramByteRequestAverage", "Memory requested, in bytes."),
        Column(
            "RamByteLimitAverage",
            "real",
            "ramByteLimitAverage",
            "Memory limit, in bytes; newer versions of OpenCost only.",
        ),
        Column("RamByteUsageAverage", "real", "ramByteUsageAverage", "Memory used on average, in bytes."),
        Column(
            "RamByteUsageMax",
            "real",
            "rawAllocationOnly.ramByteUsageMax",
            "Most memory used, in bytes; null for rows that OpenCost aggregated.",
        ),
        Column("RamCostAdjustment", "real", "ramCostAdjustment", "Correction of RamCost; 0 in OpenCost."),
        Column("RamCostIdle", "real", "ramCostIdle", "Idle part of RamCost; 0 in OpenCost."),
        Column(
            "GpuRequestAverage",
            "real",
            Derived(first_of, (Key("gpuRequestAverage", "real"), Key("gpuAllocation.gpuRequestAverage", "real"))),
            "GPUs requested.",
        ),
        Column(
            "GpuUsageAverage",
            "real",
            Derived(first_of, (Key("gpuUsageAverage", "real"), Key("gpuAllocation.gpuUsageAverage", "real"))),
            "GPUs used on average; differs from response to response in OpenCost 1.112.",
        ),
        Column(
            "GpuUsageMax", "real", "rawAllocationOnly.gpuUsageMax", "Most GPU used; newer versions of OpenCost only."
        ),
        Column(
            "GpuShared",
            "bool",
            "gpuAllocation.isGPUShared",
            "Whether the GPU is shared; newer versions of OpenCost only.",
        ),
        Column("GpuAllocation", "dynamic", "gpuAllocation", "All details of GPU use; newer versions of OpenCost only."),
        Column("GpuEfficiency", "real", "gpuEfficiency", "GPU used divided by GPU requested."),
        Column("GpuCostAdjustment", "real", "gpuCostAdjustment", "Correction of GpuCost; 0 in OpenCost."),
        Column("GpuCostIdle", "real", "gpuCostIdle", "Idle part of GpuCost; 0 in OpenCost."),
        Column("NetworkTransferBytes", "real", "networkTransferBytes", "Bytes sent in the window."),
        Column("NetworkReceiveBytes", "real", "networkReceiveBytes", "Bytes received in the window."),
        Column(
            "NetworkCrossZoneCost", "real", "networkCrossZoneCost", "Part of NetworkCost for traffic between zones."
        ),
        Column(
            "NetworkCrossRegionCost",
            "real",
            "networkCrossRegionCost",
            "Part of NetworkCost for traffic between regions.",
        ),
        Column(
            "NetworkInternetCost", "real", "networkInternetCost", "Part of NetworkCost for traffic to the internet."
        ),
        Column("NetworkCostAdjustment", "real", "networkCostAdjustment", "Correction of NetworkCost; 0 in OpenCost."),
        Column(
            "LoadBalancerCostAdjustment",
            "real",
            "loadBalancerCostAdjustment",
            "Correction of LoadBalancerCost; 0 in OpenCost.",
        ),
        Column("LbAllocations", "dynamic", "lbAllocations", "Cost and hours by load balancer."),
        Column("PvBytes", "real", "pvBytes", "Bytes of persistent volumes."),
        Column("PvByteHours", "real", "pvByteHours", "Byte-hours of persistent volumes."),
        Column("PvCostAdjustment", "real", "pvCostAdjustment", "Correction of PvCost; 0 in OpenCost."),
        Column("Pvs", "dynamic", "pvs", "Cost and byte-hours by persistent volume."),
        Column(
            "ProportionalAssetResourceCosts",
            "dynamic",
            "proportionalAssetResourceCosts",
            "The row's share of each asset; null unless it was requested.",
        ),
        Column("SharedCostBreakdown", "dynamic", "sharedCostBreakdown", "Shared costs by name; empty in OpenCost."),
        _UNMAPPED,
        _CLUSTER_REPORTED,
        *_PROOF,
    ),
)

ASSETS = Table(
    name="OpenCostAssets",
    dataset="assets",
    doc="The cost of each node, disk, load balancer and other asset in each window, from OpenCost's /assets.",
    path="/assets",
    records_at="",
    retention=BUILT_IN_STORE,
    options=(
        Option(
            "filterTypes",
            'Asset types to keep, such as "Disk,LoadBalancer"; all by default.',
            default=(),
            parse=asset_types,
            query=asset_filter,
            parameter="filter",
            keeps=RecordFilter("type", one_of),
            partial=True,
        ),
        _ALL_CLUSTERS,
    ),
    cost="TotalCost",
    # A node that is replaced keeps its name, and has another ProviderID.
    key=("ClusterReported", "Type", "Name", "ProviderID"),
    ignored={"window": "the requested window, which is in WindowStart and WindowEnd"},
    columns=(
        *_COLLECTED,
        Column(
            "AssetName",
            "string",
            Derived(
                asset_name,
                (_REPORTED, Key("type", "string"), Key("properties.name", "string")),
                context=_OF_CLUSTER,
            ),
            "Cluster, type and name of the asset; stays the same when OpenCost is upgraded.",
        ),
        *_WINDOW,
        Column("Type", "string", "type", "Type of the asset: Node, Disk, LoadBalancer, ClusterManagement, …"),
        Column(
            "Account", "string", "properties.account", "Account at the cloud provider; on Azure the subscription id."
        ),
        Column("Project", "string", "properties.project", "Project at the cloud provider, where it has projects."),
        Column("Service", "string", "properties.service", "Service of the asset; Kubernetes in OpenCost."),
        Column(
            "Region",
            "string",
            Derived(
                region_or_cluster_region,
                (
                    _REPORTED,
                    Key("labels.topology_kubernetes_io_region", "string"),
                    Key("labels.failure_domain_beta_kubernetes_io_region", "string"),
                ),
                context=("source.region", *_OF_CLUSTER[1:]),
            ),
            "Region label of the node, else the region of the cluster.",
        ),
        Column(
            "Category",
            "string",
            "properties.category",
            "Category of the asset: Compute, Storage, Network or Management.",
        ),
        Column("Provider", "string", "properties.provider", "Cloud provider."),
        Column(
            "ProviderID",
            "string",
            "properties.providerID",
            "Id of the asset at the cloud provider; can change when OpenCost is upgraded.",
        ),
        Column("Name", "string", "properties.name", "Name of the asset."),
        Column(
            "Cost",
            "real",
            Derived(cost_less_adjustment, (Key("totalCost", "real"), Key("adjustment", "real"))),
            "TotalCost without Adjustment.",
        ),
        Column("Adjustment", "real", "adjustment", "Correction of the cost; 0 in OpenCost."),
        Column(
            "TotalCost", "real", "totalCost", "Cost of the asset in the window, rounded to six decimals by OpenCost."
        ),
        Column("Bytes", "real", "bytes", "Size of a disk in bytes; null for other assets."),
        Column(
            "Breakdown", "dynamic", "breakdown", "Use of a disk by idle, system, user and other; null for other assets."
        ),
        Column("Labels", "dynamic", "labels", "Labels of the node, by their Prometheus names."),
        *_RUN,
        _ROW_CLUSTER,
        _BATCH,
        Column(
            "Start",
            "datetime",
            Derived(moment, (Key("start", "string"),)),
            "When the asset started to cost in the window (UTC).",
        ),
        Column(
            "End",
            "datetime",
            Derived(moment, (Key("end", "string"),)),
            "When the asset stopped costing in the window (UTC).",
        ),
        Column("Minutes", "real", "minutes", "Minutes from Start to End."),
        Column("NodeType", "string", "nodeType", "Instance type of a node."),
        Column("Pool", "string", "pool", "Node pool of a node."),
        Column("CpuCores", "real", "cpuCores", "CPU cores of a node."),
        Column("CpuCoreHours", "real", "cpuCoreHours", "CPU core-hours of a node."),
        Column("CpuCost", "real", "cpuCost", "Cost of a node's CPU, before Discount."),
        Column("CpuBreakdown", "dynamic", "cpuBreakdown", "Use of a node's CPU by idle, system, user and other."),
        Column("RamBytes", "real", "ramBytes", "Memory of a node in bytes."),
        Column("RamByteHours", "real", "ramByteHours", "Memory byte-hours of a node."),
        Column("RamCost", "real", "ramCost", "Cost of a node's memory, before Discount."),
        Column("RamBreakdown", "dynamic", "ramBreakdown", "Use of a node's memory by idle, system, user and other."),
        Column("GpuCount", "real", "gpuCount", "GPUs of a node."),
        Column("GpuHours", "real", "GPUHours", "GPU-hours of a node."),
        Column("GpuCost", "real", "gpuCost", "Cost of a node's GPUs."),
        Column("Preemptible", "bool", Derived(flag, (Key("preemptible", "real"),)), "Whether a node is a spot node."),
        Column("Discount", "real", "discount", "Discount on a node's CPU and memory, as a fraction."),
        Column("Overhead", "dynamic", "overhead", "Parts of a node that pods cannot request."),
        Column("ByteHours", "real", "byteHours", "Byte-hours of a disk."),
        Column("ByteHoursUsed", "real", "byteHoursUsed", "Byte-hours of a disk that were used; null when unknown."),
        Column("ByteUsageMax", "real", "byteUsageMax", "Most bytes of a disk that were used; null when unknown."),
        Column("StorageClass", "string", "storageClass", "Storage class of a disk; __local__ for the disk of a node."),
        Column("VolumeName", "string", "volumeName", "Name of the persistent volume of a disk."),
        Column("ClaimName", "string", "claimName", "Name of the persistent volume claim of a disk."),
        Column("ClaimNamespace", "string", "claimNamespace", "Namespace of that claim."),
        Column(
            "Local",
            "bool",
            Derived(flag, (Key("local", "real"),)),
            "Whether a disk belongs to a node; newer versions of OpenCost only.",
        ),
        Column("Private", "bool", "private", "Whether a load balancer is private."),
        Column("Ip", "string", "ip", "IP address of a load balancer."),
        Column("Credit", "real", "credit", "Credit on a cloud asset; OpenCost does not send it yet."),
        _UNMAPPED,
        _CLUSTER_REPORTED,
        *_PROOF,
    ),
)

# Families of metrics about OpenCost's own process and client library, not about costs.
_OWN_PROCESS = ("go_", "process_", "promhttp_")

METRICS = Table(
    name="OpenCostMetrics",
    dataset="metrics",
    doc="Scrapes of OpenCost's /metrics: prices, allocations and cluster state, one row for each sample.",
    path="/metrics",
    options=(
        Option(
            "allMetrics",
            "Keep metrics about OpenCost's own process too: go_, process_ and promhttp_.",
            default=False,
            keeps=RecordFilter("family", lambda every, name: bool(every) or not name.startswith(_OWN_PROCESS)),
        ),
    ),
    cadence="scrape",
    key=("MetricName", "Labels"),
    ignored={"raw": "the spelling of a value that is not a number; the report counts them"},
    columns=(
        Column("Timestamp", "datetime", FromContext("batch.timestamp"), "When /metrics was scraped (UTC)."),
        *_COLLECTED[1:],
        Column("MetricName", "string", "name", "Name of the sample, with its suffix."),
        Column("MetricValue", "real", "value", "Value of the sample; null for NaN and infinities."),
        Column("MetricType", "string", "type", "Type of the metric: gauge, counter, histogram, summary or unknown."),
        Column("MetricHelp", "string", "help", "Help text of the metric."),
        Column("Labels", "dynamic", "labels", "All labels of the sample."),
        Column("Container", "string", "labels.container", "Label container."),
        Column("Pod", "string", "labels.pod", "Label pod."),
        Column("Namespace", "string", "labels.namespace", "Label namespace."),
        Column("Node", "string", "labels.node", "Label node."),
        *_RUN,
        _CLUSTER,
        _BATCH,
        Column("MetricFamily", "string", "family", "Name of the metric family of the sample."),
        Column(
            "SampleTime",
            "datetime",
            Derived(seconds_to_moment, (Key("timestamp", "real"),)),
            "Time of the sample (UTC); null unless OpenCost sends one.",
        ),
        Column("Instance", "string", "labels.instance", "Label instance."),
        Column("InstanceType", "string", "labels.instance_type", "Label instance_type."),
        Column("Region", "string", "labels.region", "Label region."),
        Column("ProviderID", "string", "labels.provider_id", "Label provider_id."),
        Column("PersistentVolume", "string", "labels.persistentvolume", "Label persistentvolume."),
        Column("PersistentVolumeClaim", "string", "labels.persistentvolumeclaim", "Label persistentvolumeclaim."),
        Column("StorageClass", "string", "labels.storageclass", "Label storageclass."),
        Column("ServiceName", "string", "labels.service_name", "Label service_name."),
        Column("Resource", "string", "labels.resource", "Label resource."),
        Column("Unit", "string", "labels.unit", "Label unit."),
        Column("Uid", "string", "labels.uid", "Label uid; newer versions of OpenCost only."),
        _UNMAPPED,
        _SOURCE_REPORTED,
        *_PROOF,
    ),
)

CLOUD_COST = Table(
    name="OpenCostCloudCost",
    dataset="cloudcost",
    doc="The cost of each item on the cloud provider's bill for each day, from OpenCost's /cloudCost.",
    path="/cloudCost",
    records_at="sets[].cloudCosts",
    # Older versions of OpenCost keep 15 days, newer ones 30; the unfinished one included.
    retention={timedelta(days=1): 15},
    step=timedelta(days=1),
    default=False,
    cost="NetCost",
    key=(
        "Provider",
        "AccountID",
        "InvoiceEntityID",
        "RegionID",
        "AvailabilityZone",
        "Service",
        "Category",
        "ProviderID",
        "Labels",
    ),
    ignored={"window": "the requested window, which is in WindowStart and WindowEnd"},
    columns=(
        *_COLLECTED,
        *_WINDOW,
        Column("Provider", "string", "properties.provider", "Cloud provider."),
        Column("ProviderID", "string", "properties.providerID", "Id of the item at the cloud provider."),
        Column(
            "AccountID", "string", "properties.accountID", "Account that used the item; on Azure the subscription id."
        ),
        Column("AccountName", "string", "properties.accountName", "Name of that account."),
        Column("InvoiceEntityID", "string", "properties.invoiceEntityID", "Account that pays the bill."),
        Column(
            "InvoiceEntityName", "string", "properties.invoiceEntityName", "Name of the account that pays the bill."
        ),
        Column("RegionID", "string", "properties.regionID", "Region of the item."),
        Column("AvailabilityZone", "string", "properties.availabilityZone", "Availability zone of the item."),
        Column("Service", "string", "properties.service", "Service of the cloud provider."),
        Column("Category", "string", "properties.category", "Category of the item, such as Compute or Storage."),
        Column("Labels", "dynamic", "properties.labels", "Labels or tags of the item."),
        Column("ListCost", "real", "listCost.cost", "Cost at list prices."),
        Column(
            "ListKubernetesPercent",
            "real",
            "listCost.kubernetesPercent",
            "Part of ListCost for Kubernetes, from 0 to 1.",
        ),
        Column("NetCost", "real", "netCost.cost", "Cost after discounts."),
        Column(
            "NetKubernetesPercent", "real", "netCost.kubernetesPercent", "Part of NetCost for Kubernetes, from 0 to 1."
        ),
        Column(
            "AmortizedNetCost",
            "real",
            "amortizedNetCost.cost",
            "Cost after discounts, with commitments spread over their term.",
        ),
        Column(
            "AmortizedNetKubernetesPercent",
            "real",
            "amortizedNetCost.kubernetesPercent",
            "Part of AmortizedNetCost for Kubernetes, from 0 to 1.",
        ),
        Column("InvoicedCost", "real", "invoicedCost.cost", "Cost on the invoice."),
        Column(
            "InvoicedKubernetesPercent",
            "real",
            "invoicedCost.kubernetesPercent",
            "Part of InvoicedCost for Kubernetes, from 0 to 1.",
        ),
        Column("AmortizedCost", "real", "amortizedCost.cost", "Cost with commitments spread over their term."),
        Column(
            "AmortizedKubernetesPercent",
            "real",
            "amortizedCost.kubernetesPercent",
            "Part of AmortizedCost for Kubernetes, from 0 to 1.",
        ),
        *_RUN,
        _CLUSTER,
        _BATCH,
        _UNMAPPED,
        _SOURCE_REPORTED,
        *_PROOF,
    ),
)

SYNC_RUNS = Table(
    name="OpenCostSyncRuns",
    dataset="runs",
    doc="The run log: a row for each batch of each run, with what became of it and why, and one for each new source.",
    cadence="run",
    key=("BatchId",),
    columns=(
        Column("Timestamp", "datetime", "window_start", "Start of the batch's window (UTC)."),
        *_COLLECTED[1:],
        *_RUN,
        _CLUSTER,
        _SOURCE_REPORTED,
        Column("BatchId", "string", "batch_id", "The batch, as in the table that holds its rows."),
        Column("TableName", "string", "table", "The table that holds the batch's rows."),
        Column("Dataset", "string", "dataset", "The dataset of the batch, such as allocation or assets."),
        Column("WindowStart", "datetime", "window_start", "Start of the batch's window (UTC, inclusive)."),
        Column("WindowEnd", "datetime", "window_end", "End of the batch's window (UTC, exclusive)."),
        Column("WindowMinutes", "real", "window_minutes", "Length of the batch's window, in minutes."),
        Column("Aggregate", "string", "aggregate", "Aggregate of the batch; null where the dataset has none."),
        Column(
            "Options",
            "dynamic",
            "options",
            "Options of the request, by OpenCost's names; with filterTypes a batch holds some of the assets only.",
        ),
        Column(
            "Outcome",
            "string",
            "outcome",
            "landed, already landed, queued, empty, failed, timed out, expired, lost or unsupported.",
        ),
        Column(
            "ReasonCode",
            "string",
            "reason_code",
            "Why the batch ended so, as a code for queries and alerts; null for most batches that landed.",
        ),
        Column(
            "Reason", "string", "reason", "Why the batch ended so, as a sentence; null for most batches that landed."
        ),
        Column("Rows", "long", "rows", "Rows of the batch in OpenCost's response; null without a response."),
        Column("Cost", "real", "cost", "Cost of the batch; null where the table has none."),
        Column(
            "Currency",
            "string",
            FromContext("source.currency"),
            "Currency of the costs of the cluster; null unless it was set.",
        ),
        Column("ResponseKeys", "string", "response_keys", "BatchKeys of OpenCost's response."),
        Column("Bytes", "long", "bytes", "Bytes of the rows before compression."),
        Column("DurationSeconds", "real", "seconds", "Seconds from the request to OpenCost to the outcome."),
        Column("LoggedAt", "datetime", "logged_at", "When the row was written, by Kusto's clock (UTC)."),
        Column("ToolVersion", "string", FromContext("run.tool_version"), "Version of opencost-kusto."),
        Column("OpenCostVersion", "string", FromContext("source.version"), "Version of OpenCost; null where unknown."),
        Column(
            "Fingerprint",
            "dynamic",
            FromContext("source.fingerprint"),
            "What identifies the cluster, by scheme; only in entries of a source, which are of no batch.",
        ),
        Column(
            "Route",
            "string",
            FromContext("source.route"),
            "The Service or pod of a kube:// endpoint, and the way to it; null for http:// and https://.",
        ),
        Column(
            "Clock",
            "string",
            FromContext("run.clock"),
            "The clock of CollectionTime: kusto, opencost or machine; given where a caller chose the time.",
        ),
    ),
)

TABLES: tuple[Table, ...] = (ALLOCATION, ASSETS, METRICS, CLOUD_COST, SYNC_RUNS)
DATASETS: dict[str, Table] = {table.dataset: table for table in TABLES if table.path is not None}
# What is requested where a user names no dataset.
DEFAULT_DATASETS: tuple[str, ...] = tuple(name for name, table in DATASETS.items() if table.default)
# The options of all datasets, by their names in Python.
OPTIONS: dict[str, Option] = {option.field: option for table in TABLES for option in table.options}
