"""Filebeat and Logstash: how log files in the Elastic Common Schema are read and sent."""

from __future__ import annotations

from typing import Any

import yaml

from everloop.settings import Elastic

__all__ = ["filebeat", "logstash"]


def filebeat(elastic: Elastic, logs: str) -> str:
    """Return `filebeat.yml`: each line of the files is a document, in the index of its month.

    The template and the policy are those of `everloop elastic setup`; the key is read from the environment.
    """
    index, url = elastic.index, elastic.url or "http://127.0.0.1:9200"
    parser = {"target": "", "add_error_key": True, "overwrite_keys": True, "expand_keys": True}
    output: dict[str, Any] = {"hosts": [url], "index": f"{index}-logs-%{{+yyyy.MM}}"}
    if elastic.api_key:
        output["api_key"] = f"${{{elastic.api_key}}}"
    told = {
        "filebeat.inputs": [
            {"type": "filestream", "id": f"{index}-logs", "paths": [f"{logs}/*.log"], "parsers": [{"ndjson": parser}]}
        ],
        "processors": [{"add_host_metadata": {}}],
        "setup.ilm.enabled": False,
        "setup.template.enabled": False,
        "output.elasticsearch": output,
    }
    return f'# Log files of `[logging] format = "ecs"`.\n{yaml.safe_dump(told, sort_keys=False)}'


def logstash(elastic: Elastic, logs: str) -> str:
    """Return a pipeline that does what `filebeat` does, for OpenSearch too."""
    index, url = elastic.index, elastic.url or "http://127.0.0.1:9200"
    output = "opensearch" if elastic.server == "opensearch" else "elasticsearch"
    lines = [f'hosts => ["{url}"]', f'index => "{index}-logs-%{{+YYYY.MM}}"', "manage_template => false"]
    if output == "elasticsearch":
        lines.append("ilm_enabled => false")
    if elastic.api_key and output == "elasticsearch":
        lines.append(f'api_key => "${{{elastic.api_key}}}"')
    elif elastic.api_key:
        lines += [f'user => "${{{elastic.api_key}_USER}}"', f'password => "${{{elastic.api_key}_PASSWORD}}"']
    told = "\n".join(f"    {line}" for line in lines)
    return f"""\
# Log files of `[logging] format = "ecs"`.
input {{
  file {{
    path => ["{logs}/*.log"]
    start_position => "beginning"
    codec => json
    ecs_compatibility => "v8"
  }}
}}
filter {{
  mutate {{ remove_field => ["[event][original]"] }}
}}
output {{
  {output} {{
{told}
  }}
}}
"""
