module drydock/toolchain/crds

go 1.26.0

require (
	github.com/argoproj/argo-workflows/v3 v3.7.14
	github.com/ray-project/kuberay/ray-operator v1.6.0
)
