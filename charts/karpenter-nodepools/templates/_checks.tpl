{{- /*
What the schema cannot say. Each check fails with the key, the rule and what to set. Declared helpers:
  karpenter-nodepools.checkNodeClass    one node class, with the defaults below it
  karpenter-nodepools.checkNodePool     one node pool, with the defaults below it
  karpenter-nodepools.checkLifetime     how long its nodes live in Auto Mode
  karpenter-nodepools.seconds           a duration such as 1h30m
  karpenter-nodepools.checkUse          reservations that no pool uses
*/ -}}

{{- define "karpenter-nodepools.checkNodeClass" -}}
{{- $root := index . 0 -}}
{{- $class := index . 2 -}}
{{- $key := printf "nodeClasses.%s" (index . 1) -}}
{{- $bottlerocket := eq $class.amiFamily "Bottlerocket" -}}
{{- if and (include "common.autoMode" $root) (eq (index . 1) "default") -}}
{{- fail (printf "%s: Auto Mode has a node class of this name already: choose another name" $key) -}}
{{- end -}}
{{- if and $class.role $class.instanceProfile -}}
{{- fail (printf "%s: role and instanceProfile exclude each other: set one" $key) -}}
{{- end -}}
{{- $pinned := ternary "^v?[0-9]+\\.[0-9]+\\.[0-9]+$" "^v[0-9]{8}$" $bottlerocket -}}
{{- if not (or (eq $class.amiVersion "latest") (regexMatch $pinned $class.amiVersion)) -}}
{{- fail (printf "%s.amiVersion: '%s' is no release of %s: set latest or one like %s" $key $class.amiVersion $class.amiFamily (ternary "1.54.0" "v20260714" $bottlerocket)) -}}
{{- end -}}
{{- if gt (int $class.volume.throughput) (div (int $class.volume.iops) 4 | int) -}}
{{- fail (printf "%s.volume: gp3 gives at most a quarter of iops as throughput: with throughput %d set iops to %d or more" $key (int $class.volume.throughput) (mul 4 (int $class.volume.throughput))) -}}
{{- end -}}
{{- if $class.volume.snapshotID -}}
{{- if and (not $bottlerocket) (not (include "common.autoMode" $root)) -}}
{{- fail (printf "%s.volume.snapshotID: images can be preloaded on Bottlerocket's data volume only, on AL2023 the snapshot would replace the system: set amiFamily to Bottlerocket, or use sociParallelPull" $key) -}}
{{- end -}}
{{- if include "common.autoMode" $root -}}
{{- fail (printf "%s.volume.snapshotID: Auto Mode's NodeClass has no snapshot: leave it out, or run Karpenter and set global.autoMode.enabled to false" $key) -}}
{{- end -}}
{{- if or (eq $class.instanceStorePolicy "RAID0") $class.sociParallelPull.enabled -}}
{{- fail (printf "%s.volume.snapshotID: its images are not found where local disks (instanceStorePolicy) or SOCI (sociParallelPull) keep them, and are pulled again: set instanceStorePolicy to \"\" and sociParallelPull.enabled to false" $key) -}}
{{- end -}}
{{- if eq 0 (int $class.volume.volumeInitializationRate) -}}
{{- fail (printf "%s.volume.volumeInitializationRate: a volume from a snapshot reads each block from S3 at first, which makes a preloaded image slower than a pulled one: set 100 to 300" $key) -}}
{{- end -}}
{{- else if ne 0 (int $class.volume.volumeInitializationRate) -}}
{{- fail (printf "%s.volume.volumeInitializationRate: it fills a volume from a snapshot: set volume.snapshotID, or leave the rate at 0" $key) -}}
{{- end -}}
{{- if $class.sociParallelPull.enabled -}}
{{- if and (lt (int $class.volume.throughput) 600) (ne $class.instanceStorePolicy "RAID0") -}}
{{- fail (printf "%s.sociParallelPull: pulls get slower with it on a disk of %d MiB/s: set volume.throughput to 600 or more (and iops to 2400 or more), or instanceStorePolicy to RAID0" $key (int $class.volume.throughput)) -}}
{{- end -}}
{{- if and (not $bottlerocket) (or (hasPrefix "MIME-Version" (trim $class.userData)) (hasPrefix "Content-Type" (trim $class.userData))) -}}
{{- fail (printf "%s.userData: a multi-part message cannot be joined with sociParallelPull: set one script or one NodeConfig, or sociParallelPull.enabled to false and the feature gate FastImagePull in a part of your own" $key) -}}
{{- end -}}
{{- if and $bottlerocket (contains "[settings.container-runtime" $class.userData) -}}
{{- fail (printf "%s.userData: settings.container-runtime is set by sociParallelPull: leave it out, or set sociParallelPull.enabled to false" $key) -}}
{{- end -}}
{{- end -}}
{{- if and $bottlerocket (hasKey $class.kubelet "podsPerCore") -}}
{{- fail (printf "%s.kubelet.podsPerCore: Bottlerocket does not apply it: set maxPods" $key) -}}
{{- end -}}
{{- if and $class.placementGroup.name $class.placementGroup.id -}}
{{- fail (printf "%s.placementGroup: name and id exclude each other: set one" $key) -}}
{{- end -}}
{{- if include "common.autoMode" $root -}}
{{- range $name, $term := $class.capacityReservationSelectorTerms -}}
{{- if hasKey ($term | default dict) "instanceMatchCriteria" -}}
{{- fail (printf "%s.capacityReservationSelectorTerms.%s: Auto Mode picks reservations by id, or by tags and owner: leave instanceMatchCriteria out" $key $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (include "common.autoMode" $root) (or $class.placementGroup.name $class.placementGroup.id) -}}
{{- fail (printf "%s.placementGroup: Auto Mode's NodeClass has none: leave it out, or run Karpenter and set global.autoMode.enabled to false" $key) -}}
{{- end -}}
{{- if and (gt (int $class.efa.networkCards) 0) $class.networkInterfaces -}}
{{- fail (printf "%s: efa.networkCards and networkInterfaces exclude each other: set one" $key) -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.seconds" "1h30m" */ -}}
{{- define "karpenter-nodepools.seconds" -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+[smh]" . -1 -}}
{{- $seconds = add $seconds (mul (regexFind "[0-9]+" . | int64) (get (dict "s" 1 "m" 60 "h" 3600) (regexFind "[smh]" .))) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{- define "karpenter-nodepools.checkLifetime" -}}
{{- $key := index . 0 -}}
{{- $pool := index . 1 -}}
{{- $longest := 1814400 -}}
{{- if eq $pool.expireAfter "Never" -}}
{{- fail (printf "%s.expireAfter: Auto Mode replaces each node after 21 days: set 480h or less in place of Never" $key) -}}
{{- end -}}
{{- if gt (add (include "karpenter-nodepools.seconds" $pool.expireAfter | int64) (include "karpenter-nodepools.seconds" $pool.terminationGracePeriod | int64)) ($longest | int64) -}}
{{- fail (printf "%s.expireAfter: %s and terminationGracePeriod %s are more than the 21 days (504h) that Auto Mode allows a node: lower one of them" $key $pool.expireAfter $pool.terminationGracePeriod) -}}
{{- end -}}
{{- end -}}

{{- define "karpenter-nodepools.checkNodePool" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 2 -}}
{{- $key := printf "nodePools.%s" (index . 1) -}}
{{- if include "common.autoMode" $root -}}
{{- include "karpenter-nodepools.checkLifetime" (tuple $key $pool) -}}
{{- end -}}
{{- $known := list -}}
{{- range $name, $own := $root.Values.nodeClasses -}}
{{- $class := include "common.merge" (tuple $root.Values.nodeClassDefaults $own) | fromJson -}}
{{- if $class.enabled -}}{{- $known = append $known $name -}}{{- end -}}
{{- end -}}
{{- if not (has $pool.nodeClass $known) -}}
{{- fail (printf "%s.nodeClass: there is no enabled node class '%s': set one of %s, or add it under nodeClasses" $key $pool.nodeClass ($known | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $class := include "common.merge" (tuple $root.Values.nodeClassDefaults (get $root.Values.nodeClasses $pool.nodeClass)) | fromJson -}}
{{- if and (has "reserved" $pool.capacityTypes) (not $class.capacityReservationSelectorTerms) -}}
{{- fail (printf "%s.capacityTypes: reserved needs reservations to take from: set nodeClasses.%s.capacityReservationSelectorTerms" $key $pool.nodeClass) -}}
{{- end -}}
{{- $elsewhere := dict "kubernetes.io/arch" "architectures" "karpenter.sh/capacity-type" "capacityTypes" "topology.kubernetes.io/zone" "zones" -}}
{{- range $label, $sibling := $elsewhere -}}
{{- if hasKey $pool.requirements $label -}}
{{- fail (printf "%s.requirements: %s has a key of its own: set %s.%s" $key $label $key $sibling) -}}
{{- end -}}
{{- end -}}
{{- range $label, $requirement := $pool.requirements -}}
{{- if $requirement -}}
{{- include "karpenter-nodepools.checkRequirement" (tuple (printf "%s.requirements.%s" $key $label) $requirement) -}}
{{- if eq $pool.accelerator "none" -}}
{{- include "karpenter-nodepools.checkNoAccelerator" (tuple $key $label $requirement) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $pool.dynamicResourceAllocation -}}
{{- if or (ne $pool.accelerator "nvidia") $pool.sharing (include "common.autoMode" $root) (eq $class.amiFamily "Bottlerocket") -}}
{{- fail (printf "%s.dynamicResourceAllocation: it is for NVIDIA GPUs without a device plugin: set accelerator to nvidia and sharing to nothing, and use Karpenter with a node class of AL2023" $key) -}}
{{- end -}}
{{- if not $pool.replicas -}}
{{- fail (printf "%s.dynamicResourceAllocation: Karpenter buys no node for a pod with resource claims, so the pool would never leave zero: set %s.replicas" $key $key) -}}
{{- end -}}
{{- end -}}
{{- with $pool.sharing -}}
{{- if ne $pool.accelerator "nvidia" -}}
{{- fail (printf "%s.sharing: only NVIDIA GPUs are shared: set %s.accelerator to nvidia, or leave sharing empty" $key $key) -}}
{{- end -}}
{{- if or (include "common.autoMode" $root) (eq $class.amiFamily "Bottlerocket") -}}
{{- fail (printf "%s.sharing: %s brings a device plugin of its own, which does not read the profile: leave sharing empty, or use Karpenter with a node class of AL2023" $key (ternary "EKS Auto Mode" "Bottlerocket" (not (empty (include "common.autoMode" $root))))) -}}
{{- end -}}
{{- end -}}
{{- if hasKey $pool "replicas" -}}
{{- if ne 0 (int $pool.weight) -}}
{{- fail (printf "%s.weight: a pool of fixed size takes none: set it to 0, or leave replicas out" $key) -}}
{{- end -}}
{{- if without (keys $pool.limits) "nodes" -}}
{{- fail (printf "%s.limits: a pool of fixed size takes no limit but nodes: set %s to null, or leave replicas out" $key (without (keys $pool.limits) "nodes" | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "karpenter-nodepools.checkRequirement" -}}
{{- $key := index . 0 -}}
{{- $requirement := index . 1 -}}
{{- $values := $requirement.values | default list -}}
{{- if and (has $requirement.operator (list "In" "NotIn")) (not $values) -}}
{{- fail (printf "%s: %s needs values" $key $requirement.operator) -}}
{{- end -}}
{{- if and (has $requirement.operator (list "Exists" "DoesNotExist")) $values -}}
{{- fail (printf "%s: %s takes no values: set values to null" $key $requirement.operator) -}}
{{- end -}}
{{- if has $requirement.operator (list "Gt" "Lt" "Gte" "Lte") -}}
{{- if or (ne 1 (len $values)) (not (regexMatch "^[0-9]+$" (toString (first $values)))) -}}
{{- fail (printf "%s: %s compares with one whole number, not with [%s]" $key $requirement.operator (join ", " $values)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $requirement.operator "In") (gt (int ($requirement.minValues | default 0)) (len $values)) -}}
{{- fail (printf "%s: minValues %d asks for more than the %d values" $key (int $requirement.minValues) (len $values)) -}}
{{- end -}}
{{- end -}}

{{- /* A node with an accelerator and without its taint fills up with pods that need none. */ -}}
{{- define "karpenter-nodepools.checkNoAccelerator" -}}
{{- $key := index . 0 -}}
{{- $label := index . 1 | replace "eks.amazonaws.com/" "karpenter.k8s.aws/" -}}
{{- $requirement := index . 2 -}}
{{- $accelerated := false -}}
{{- if and (regexMatch "/instance-(gpu|accelerator)-" $label) (ne $requirement.operator "DoesNotExist") -}}
{{- $accelerated = true -}}
{{- else if eq $requirement.operator "In" -}}
{{- range $value := $requirement.values -}}
{{- if and (eq $label "karpenter.k8s.aws/instance-category") (has $value (list "g" "gr" "p" "inf" "trn")) -}}
{{- $accelerated = true -}}
{{- else if and (has $label (list "karpenter.k8s.aws/instance-family" "node.kubernetes.io/instance-type")) (regexMatch "^(g|gr|p|inf|trn)[0-9]" $value) -}}
{{- $accelerated = true -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $accelerated -}}
{{- fail (printf "%s: %s asks for accelerated instance types, but accelerator is none, so their nodes would carry no taint: set %s.accelerator to nvidia or neuron" $key (index . 1) $key) -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "karpenter-nodepools.checkUse" (tuple . NAME CLASS). Reservations cost money whether they are used or not. */ -}}
{{- define "karpenter-nodepools.checkUse" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if (index . 2).capacityReservationSelectorTerms -}}
{{- $used := false -}}
{{- range $poolName := keys $root.Values.nodePools -}}
{{- $pool := include "karpenter-nodepools.nodePool" (tuple $root $poolName) | fromJson -}}
{{- if and $pool.enabled (eq $pool.nodeClass $name) (has "reserved" $pool.capacityTypes) -}}
{{- $used = true -}}
{{- end -}}
{{- end -}}
{{- if not $used -}}
{{- fail (printf "nodeClasses.%s.capacityReservationSelectorTerms: no enabled pool of this class takes reserved capacity: add reserved to the capacityTypes of one" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
