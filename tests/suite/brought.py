"""A chart and manifests of others, with the habits that theirs have."""

from collections.abc import Mapping
from pathlib import Path

CONVERSION = """  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {service: {name: absent, namespace: default}}
"""
CRD = f"""apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: engines.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {{kind: Engine, plural: engines, singular: engine}}
{CONVERSION}  versions:
    - name: v1alpha1
      served: true
      storage: false
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {{type: object, properties: {{size: {{type: integer}}}}}}
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {{type: object, properties: {{size: {{type: integer}}}}}}
"""
ENGINE = """apiVersion: example.com/v1
kind: Engine
metadata:
  name: big
spec:
  size: 3
"""
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: web
          image: registry.example.com/web:1.4.2
          resources:
            requests: {cpu: 100m, memory: 64Mi}
"""
SERVING = """{{- range .Values.engines }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $.Release.Name }}-{{ .name }}
spec:
  replicas: {{ .replicas | default 1 }}
  selector:
    matchLabels: {app: {{ .name }}}
  template:
    metadata:
      labels: {app: {{ .name }}}
    spec:
      containers:
        - name: engine
          image: registry.example.com/engine:2.0.1
          resources:
            limits: {nvidia.com/gpu: {{ .gpus }}}
            requests: {cpu: "2", memory: 8Gi}
{{- end }}
"""
SECRET = """{{- $kept := lookup "v1" "Secret" .Release.Namespace "stack-key" }}
apiVersion: v1
kind: Secret
metadata:
  name: stack-key
data:
  key: {{ if $kept }}{{ $kept.data.key }}{{ else }}{{ randAlphaNum 16 | b64enc }}{{ end }}
"""
HOOK = """apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations:
    helm.sh/hook: pre-install
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: migrate
          image: registry.example.com/migrate:2.0.1
          resources:
            requests: {cpu: 100m, memory: 64Mi}
"""
WEBHOOK = """apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: {{ .Release.Name }}-pods
webhooks:
  - name: pods.example.com
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Fail
    clientConfig:
      service: {name: {{ .Release.Name }}-webhook, namespace: {{ .Release.Namespace }}}
    rules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
"""
HOOK_AFTER = HOOK.replace("migrate", "check").replace("pre-install", "post-install")
AGGREGATED = """apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: v1.metrics.example.com
spec:
  group: metrics.example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: absent, namespace: default}
"""
TEST = """apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-test
  annotations: {helm.sh/hook: test}
spec:
  containers: [{name: test, image: registry.example.com/test}]
"""
SUBCHART = {
    "charts/cache/Chart.yaml": "apiVersion: v2\nname: cache\nversion: 0.1.0\n",
    "charts/cache/values.yaml": "memory: 64Mi\n",
    "charts/cache/templates/cache.yaml": """apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ .Release.Name }}-cache
spec:
  serviceName: cache
  selector:
    matchLabels: {app: cache}
  template:
    metadata:
      labels: {app: cache}
    spec:
      containers:
        - name: cache
          image: registry.example.com/cache:8.4.0
          resources:
            requests: {cpu: 100m, memory: {{ .Values.memory }}}
""",
}
STACK = {
    "Chart.yaml": "apiVersion: v2\nname: stack\nversion: 1.2.3\n",
    "values.yaml": "engines:\n  - {name: small, gpus: 1}\n",
    "crds/engine.yaml": CRD,
    "templates/serving.yaml": SERVING,
    "templates/secret.yaml": SECRET,
    "templates/engine.yaml": ENGINE,
    "templates/older.yaml": ENGINE.replace("/v1", "/v1alpha1").replace("big", "older"),
    "templates/hook.yaml": HOOK,
    "templates/hook-after.yaml": HOOK_AFTER,
    "templates/aggregated.yaml": AGGREGATED,
    "templates/webhook.yaml": WEBHOOK,
    "templates/tests/test.yaml": TEST,
    **SUBCHART,
}
"""A chart of engines by a list, with CRD, subchart, hooks, lookup, random password, a test, and absent servers."""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files, texts by their paths in a folder."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder
